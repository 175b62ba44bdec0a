"""What a step's Kubeflow wrapper calls: the way into the step, and out of it."""
