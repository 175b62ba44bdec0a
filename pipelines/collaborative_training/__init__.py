"""Collaborative training: its pipelines, their form, their packages and its demo."""
