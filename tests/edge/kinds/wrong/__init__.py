"""A package that offers no kind."""
