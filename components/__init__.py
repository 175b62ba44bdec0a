"""The steps of the pipelines, one folder each."""
