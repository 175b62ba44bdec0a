"""The runner: does what its inbox says, and survives whatever happens to it."""
