"""The object store: one interface, a directory on a laptop, MinIO or any S3 on a cluster."""

from cloudedge.store.base import Changes, Entry, Store, checked_key, is_key
from cloudedge.store.directory import DirectoryStore

__all__ = ["Changes", "DirectoryStore", "Entry", "Store", "checked_key", "is_key"]
