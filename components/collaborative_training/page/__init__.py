"""What the report of collaborative training says and draws."""
