"""Models in use in one process, by name; and the Open Inference Protocol, by which others ask them."""
