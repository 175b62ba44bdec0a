"""What training for production lines is to the command line, to the places where it runs, and to whoever looks at its runs."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloud.runs.run import Run
from cloudedge.documents.tasks.inspection_training import InspectionTrainingTask
from cloudedge.errors import InvalidInput
from components.inspection_training.gate.images import labelled_images
from components.inspection_training.records import gate_of
from pipelines.frames import Frames
from pipelines.systems import Place, System

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.dag import FormShape
    from pipelines.laptop.data import Data


class InspectionTrainingSystem(System[InspectionTrainingTask]):
    """A model for one brand of a production line."""

    document = InspectionTrainingTask
    modules = (
        "cloudedge.deployable.session",
        "cloudedge.inspection.images",
        "components.inspection_training.gate.entrypoint",
        "components.inspection_training.steps",
        "components.register.step",
        "sklearn.metrics",
    )
    edges_in_task = "line"

    @property
    def frames(self) -> Frames:
        """See `System.frames`."""
        from pipelines.inspection_training.frames import InspectionFrames

        return InspectionFrames()

    def in_words(self, task: InspectionTrainingTask) -> str:
        """See `System.in_words`."""
        return f"a model of {task.training.brand} for the line {task.line}"

    def pipeline(
        self, task: InspectionTrainingTask, place: Place, compact: bool | None = None, shape: "FormShape" = "fields"
    ) -> Any:
        """See `System.pipeline`; there is one, whatever the task."""
        from pipelines.inspection_training.training import pipeline

        return pipeline(shape)

    def packages(self) -> Mapping[str, Any]:
        """See `System.packages`."""
        from pipelines.inspection_training.training import pipeline

        return {"inspection_training": pipeline()}

    def arguments(self, cloud_data: str, test_data: str) -> dict[str, Any]:
        """See `System.arguments`; what is trained on stays on the line."""
        del cloud_data
        return {"test_data": test_data}

    def edges_of(self, task: InspectionTrainingTask) -> Collection[str] | None:
        """See `System.edges_of`."""
        return (task.line,)

    def with_edges(self, task: InspectionTrainingTask, edges: tuple[str, ...]) -> InspectionTrainingTask:
        """See `System.with_edges`."""
        if edges != (task.line,):
            raise InvalidInput(f"The task is for the line {task.line}, and for no other edge.")
        return task

    def require_samples(self, run: Run, task: InspectionTrainingTask, data: "Data") -> None:
        """See `System.require_samples`: a test set that cannot be used is known before the line trains."""
        if data.test and gate_of(run) is None:
            labelled_images(Path(data.test), task.training.brand)

    def remarks(
        self, task: InspectionTrainingTask, data: "Data", folders: Mapping[str, Path]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """See `System.remarks`."""
        del task, folders
        if not data.test:
            yield "untested", {"data": data.shown}

    def sentence(self, action: str, details: Mapping[str, Any]) -> str:
        """See `System.sentence`."""
        if action == "judged":
            auroc = details.get("auroc")
            measured = f"AUROC {auroc:.3f} on the test set: " if isinstance(auroc, float) else ""
            faults = "; ".join(map(str, details.get("faults") or ()))
            return f"{measured}the gate {'let it pass' if details.get('passed') else f'refused it: {faults}'}."
        if action == "untested":
            return f"There is no test set in {details.get('data')}/test: the gate will refuse the model."
        return "Nothing is registered, as the gate refused the model." if action == "refused" else ""

    def summary(self, run: Run) -> dict[str, Any]:
        """See `System.summary`."""
        record = gate_of(run)
        if record is None:
            return {"model": None, "gate_passed": None}
        figures = record.model_dump(mode="json", include={"auroc", "pixel_auroc", "accuracy", "recall", "named", "images"})
        model = {"sha256": record.sha256, "size": record.deployable.size, "threshold": record.deployable.threshold}
        return {"model": model, "gate_passed": record.passed, "faults": list(record.faults), **figures}

    def print_outcome(self, console: "Console", run: Run) -> None:
        """See `System.print_outcome`."""
        record = gate_of(run)
        if record:
            if record.auroc is not None:
                console.print(
                    f"On {sum(record.images.values())} images of the test set: AUROC {record.auroc:.3f}, "
                    f"{record.accuracy or 0.0:.3f} judged rightly."
                )
            console.print(record.verdict, soft_wrap=True, markup=False)
            console.print()


SYSTEM = InspectionTrainingSystem()
