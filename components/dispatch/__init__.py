"""Order work from edges."""
