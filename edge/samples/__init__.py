"""The samples that an edge has collected."""
