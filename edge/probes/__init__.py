"""What the device has to give, and what waits for it: read off the system, and each figure with where it comes from.

Functions that take a `root` read below it in place of the system's own files; it is / but in tests.
"""
