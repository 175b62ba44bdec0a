"""What deployment on production lines is to the command line, to the places where it runs, and to whoever looks at its runs."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from cloud.runs.run import Run
from cloudedge.documents.tasks.inspection_deployment import InspectionDeploymentTask
from cloudedge.errors import InvalidInput
from components.inspection_deployment.page import deployed_by
from components.inspection_deployment.records import release_of
from pipelines.systems import Place, System

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.dag import FormShape


class InspectionDeploymentSystem(System[InspectionDeploymentTask]):
    """A model that passed its gate, on the detectors of a production line."""

    document = InspectionDeploymentTask
    modules = (
        "cloudedge.deployable.checking",
        "components.inspection_deployment.release.entrypoint",
        "components.inspection_deployment.steps",
    )
    edges_in_task = "line"
    reads_samples = False

    def in_words(self, task: InspectionDeploymentTask) -> str:
        """See `System.in_words`."""
        where = f"{len(task.detectors)} detectors" if task.detectors else "all detectors"
        return f"the model {task.model} for {task.brand} on {where} of the line {task.line}"

    def pipeline(
        self, task: InspectionDeploymentTask, place: Place, compact: bool | None = None, shape: "FormShape" = "fields"
    ) -> Any:
        """See `System.pipeline`; there is one, whatever the task."""
        from pipelines.inspection_deployment.deployment import pipeline

        return pipeline(shape)

    def packages(self) -> Mapping[str, Any]:
        """See `System.packages`."""
        from pipelines.inspection_deployment.deployment import pipeline

        return {"inspection_deployment": pipeline()}

    def edges_of(self, task: InspectionDeploymentTask) -> Collection[str] | None:
        """See `System.edges_of`."""
        return (task.line,)

    def with_edges(self, task: InspectionDeploymentTask, edges: tuple[str, ...]) -> InspectionDeploymentTask:
        """See `System.with_edges`."""
        if edges != (task.line,):
            raise InvalidInput(f"The task is for the line {task.line}, and for no other edge.")
        return task

    def sentence(self, action: str, details: Mapping[str, Any]) -> str:
        """See `System.sentence`."""
        match action:
            case "released":
                return f"{details.get('model')} of run {details.get('of')} is deployed."
            case "overridden":
                return f"{details.get('verdict')} {details.get('by')} has it deployed all the same: {details.get('reason')}"
        return ""

    def summary(self, run: Run) -> dict[str, Any]:
        """See `System.summary`."""
        release, deployed = release_of(run), deployed_by(run)
        return {
            "model": {"of": release.run, "sha256": release.deployable.sha256} if release else None,
            "overridden_by": release.overridden_by if release else "",
            "serving": deployed.serving if deployed else None,
            "detectors": deployed.model_dump(mode="json")["detectors"] if deployed else {},
        }

    def print_outcome(self, console: "Console", run: Run) -> None:
        """See `System.print_outcome`."""
        from rich.table import Table
        from rich.text import Text

        deployed = deployed_by(run)
        if deployed is None:
            return
        heading = f"{deployed.serving} of {len(deployed.detectors)} detectors judge by the model"
        table = Table(title=heading, title_justify="left", box=None, pad_edge=False)
        for title in ("detector", "state", "longest pause", ""):
            table.add_column(title, justify="right" if title == "longest pause" else "left")
        for name, outcome in sorted(deployed.detectors.items()):
            gap = f"{outcome.swap_gap_ms:.1f} ms" if outcome.swap_gap_ms else ""
            table.add_row(name, outcome.state, gap, Text(outcome.reason))
        console.print(table)
        console.print()


SYSTEM = InspectionDeploymentSystem()
