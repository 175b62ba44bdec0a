"""Name the run's model in the model registry."""
