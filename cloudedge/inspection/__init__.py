"""Inspection: what is normal is learned from images, and told from what is not.

`images` is what a detector needs too, so it imports numpy and Pillow only. Nothing here knows of edges, orders or the cloud.
"""
