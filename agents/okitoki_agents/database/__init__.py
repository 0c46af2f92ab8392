"""The agent beside each database server: it has a dead or frozen primary replaced in seconds, safely."""
