"""Operator of the Oki-Toki call-centre platform."""
