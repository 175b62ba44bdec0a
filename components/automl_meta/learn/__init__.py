"""Train a meta model on the searches that happened, and judge it on those that it never saw."""
