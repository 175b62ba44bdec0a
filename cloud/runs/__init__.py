"""Runs: their objects in the store, their state, their life."""
