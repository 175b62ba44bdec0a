"""From a registration to the name of the model."""

from cloud.entrypoints.entrypoint import entrypoint
from components.register.step import register_model


@entrypoint
def run_register(run_id: str) -> tuple[str, str]:
    """Register a run's model.

    Returns:
        Id of the run, and name of the registered model, or an empty text.
    """
    return run_id, register_model(run_id)
