"""Training: learning, stopping, resuming, measuring."""
