"""Stores that only the cloud opens."""
