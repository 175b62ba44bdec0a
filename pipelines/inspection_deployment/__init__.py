"""Deployment on production lines: its pipeline, and what people and programs are shown of it."""
