"""Reading meters: what the demo of searching for a model at the edge shows."""
