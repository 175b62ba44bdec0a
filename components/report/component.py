"""Report, as Kubeflow sees it."""

from kfp import dsl

from cloud.image import CLOUD_IMAGE


@dsl.component(base_image=CLOUD_IMAGE, install_kfp_package=False)
def report(run_report: dsl.Output[dsl.HTML], run: str, registered_model: str) -> None:
    """Write the run's report and end the run.

    Args:
        run_report: What collaboration bought, drawn.
        run: Id of the run.
        registered_model: Name of the registered model, or an empty text.
    """
    from components.report.entrypoint import fill_report

    fill_report(run, run_report)
