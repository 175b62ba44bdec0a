"""The two files that a meta model is, and where those of the one are that comes with cloudedge."""

from pathlib import Path

WEIGHTS, CARD = "meta.safetensors", "meta.json"
"""Their names in a folder."""

SHIPPED = Path(__file__).parent / "shipped"
"""Folder of the one that comes with cloudedge."""
