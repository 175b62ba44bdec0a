"""The steps of collaborative training alone."""
