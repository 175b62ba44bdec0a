"""A package whose kind makes a file that is not its own."""
