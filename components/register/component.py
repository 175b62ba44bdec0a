"""Register, as Kubeflow sees it."""

from typing import NamedTuple

from kfp import dsl

from cloud.image import CLOUD_IMAGE


@dsl.component(base_image=CLOUD_IMAGE, install_kfp_package=False)
def register(run: str, passed: bool) -> NamedTuple("Outputs", [("run", str), ("registered_model", str)]):
    """Give the run's model a version in the model registry, unless the regression gate refused it.

    Args:
        run: Id of the run.
        passed: Whether the model may be registered.

    Returns:
        Id of the run, and name of the registered model, or an empty text.
    """
    from components.register.entrypoint import run_register

    return run_register(run)
