"""Searching for a model on an edge device: what edge and cloud share.

What a candidate costs is known here without torch, so that a search that finds nothing feasible says so at once.
"""
