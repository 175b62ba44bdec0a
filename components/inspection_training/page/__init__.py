"""What the report of a training for a production line draws."""
