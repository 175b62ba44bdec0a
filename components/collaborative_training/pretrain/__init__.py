"""Train the first model in the cloud."""
