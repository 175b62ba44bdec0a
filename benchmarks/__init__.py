"""What we claim about speed and accuracy, rerunnable, each beside its peer in one run."""
