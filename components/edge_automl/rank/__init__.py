"""Compare what the devices' searches found."""
