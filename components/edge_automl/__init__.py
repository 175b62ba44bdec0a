"""Search for the best model that each device can bear."""
