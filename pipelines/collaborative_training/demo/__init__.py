"""The demo: real data, and a task for it."""
