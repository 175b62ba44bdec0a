"""Orders to edges: issued, renewed, watched, waited for and closed."""
