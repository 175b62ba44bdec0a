"""A Kubernetes cluster: which one is meant, the way to it, and its API as we need it."""
