"""A kind of work of a package's own: counts the words of a text."""
