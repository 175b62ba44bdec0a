"""What to do about a fault that more than one step may find."""

DIVERGES_AGAIN = (
    "Training that diverged does so again with the same task: start a new one, under another id, with a smaller "
    "collaboration.training.learning_rate, or another optimizer or loss."
)
"""All of training follows from the task, so the same one again is no way out."""
