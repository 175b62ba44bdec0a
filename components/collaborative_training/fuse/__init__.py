"""Fuse what the edges of a round delivered."""
