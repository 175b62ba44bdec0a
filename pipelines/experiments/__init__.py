"""cloudedge in Python: for notebooks, and for programs that run experiments. Its names are exported by `pipelines`."""
