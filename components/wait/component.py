"""Wait, as Kubeflow sees it."""

from kfp import dsl

from components.shared.image import CLOUD_IMAGE


@dsl.component(base_image=CLOUD_IMAGE, install_kfp_package=False)
def wait(page: dsl.Output[dsl.HTML], run: str, round_number: int, orders: int) -> int:
    """Wait until enough edges have delivered.

    Args:
        page: How each edge fared.
        run: Id of the run.
        round_number: Round, counted from 1.
        orders: Number of edges that take part.

    Returns:
        Number of results.
    """
    from components.wait.door import run_wait

    return run_wait(run, round_number, page)
