"""Searches for models on this device: what they train, what they measure, what is kept of them."""
