"""Wait for edges."""
