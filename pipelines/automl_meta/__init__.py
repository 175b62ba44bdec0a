"""Training the meta model of AutoML at the edge: its pipeline, and what people and programs are shown of it."""
