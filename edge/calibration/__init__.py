"""Measuring what networks cost on this device: by the file that a detector would get, run as a detector runs it."""
