"""The meta model: from a device's queue and resources to how large a search on it may be."""
