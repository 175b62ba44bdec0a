"""Fusion: many models with the same tensors become one, streamed from file to file."""
