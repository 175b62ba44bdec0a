"""Training for production lines: what the line's edge server is asked, the gate in the cloud, and the report."""
