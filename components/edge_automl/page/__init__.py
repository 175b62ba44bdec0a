"""What the report of searches on devices draws."""
