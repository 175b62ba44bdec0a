"""Measure what collaboration bought."""
