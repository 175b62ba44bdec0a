"""Release, as Kubeflow sees it."""

from typing import NamedTuple

from kfp import dsl

from cloud.image import CLOUD_IMAGE


@dsl.component(base_image=CLOUD_IMAGE, install_kfp_package=False)
def release(run: str) -> NamedTuple("Outputs", [("run", str), ("sha256", str)]):
    """Find the model that is named, and make sure that it may be deployed.

    Args:
        run: Id of the run.

    Returns:
        Id of the run, and digest of the file that is deployed.
    """
    from components.inspection_deployment.release.entrypoint import run_release

    return run_release(run)
