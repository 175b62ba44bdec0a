"""Where a run's objects are kept, by address: a folder, or a bucket of MinIO or any other S3."""

from cloud.stores.address import open_store

__all__ = ["open_store"]
