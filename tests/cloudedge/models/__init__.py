"""Architectures: what a task can name, and what is refused."""
