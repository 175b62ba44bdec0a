"""The DAGs, what runs them on a laptop, and the command line."""
