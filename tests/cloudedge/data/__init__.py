"""Samples: the four storages, packing, and what a model gets of them."""
