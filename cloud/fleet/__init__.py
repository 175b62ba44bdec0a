"""The edges of a cluster: enrolled, looked at, removed."""
