"""A package whose outputs are no set."""
