"""Deployment on production lines: what may be deployed, what the line's edge server is asked, and the report."""
