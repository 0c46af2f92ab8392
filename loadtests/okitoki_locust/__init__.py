"""Locust users for any installation: Locust drives and shows, the ledger of `okitoki_load` judges."""
