"""A package whose document names a type that there is not."""
