"""Write the page that a person reads."""
