"""Searching for models on edge devices: its pipeline, and what it is to people."""
