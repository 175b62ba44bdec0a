"""Find the model that is named, and make sure that it may be deployed."""
