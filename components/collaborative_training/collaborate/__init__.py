"""All rounds in one step."""
