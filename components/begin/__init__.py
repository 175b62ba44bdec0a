"""Begin a run whose first step does nothing else."""
