"""What training a meta model is to the command line, to the places where it runs, and to whoever looks at its runs."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from cloud.runs.run import Run
from cloudedge.documents.tasks.automl_meta import AutomlMetaTask
from cloudedge.errors import InvalidInput
from components.automl_meta.records import learning_of
from pipelines.systems import Place, System

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.dag import FormShape


class AutomlMetaSystem(System[AutomlMetaTask]):
    """A meta model of the searches that happened."""

    document = AutomlMetaTask
    reads_samples = False  # What is learned from is in the store.
    modules = (
        "cloudedge.automl.meta.training",
        "cloudedge.training",
        "components.automl_meta.learn.entrypoint",
        "components.automl_meta.steps",
        "components.register.step",
        "optuna",
    )

    def in_words(self, task: AutomlMetaTask) -> str:
        """See `System.in_words`."""
        return f"the meta model {task.model_name}, once {task.every_rows:,} searches were added"

    def pipeline(self, task: AutomlMetaTask, place: Place, compact: bool | None = None, shape: "FormShape" = "fields") -> Any:
        """See `System.pipeline`; there is one, whatever the task."""
        from pipelines.automl_meta.training import pipeline

        return pipeline(shape)

    def packages(self) -> Mapping[str, Any]:
        """See `System.packages`."""
        from pipelines.automl_meta.training import pipeline

        return {"automl_meta": pipeline()}

    def edges_of(self, task: AutomlMetaTask) -> Collection[str] | None:
        """See `System.edges_of`."""
        return None

    def with_edges(self, task: AutomlMetaTask, edges: tuple[str, ...]) -> AutomlMetaTask:
        """See `System.with_edges`."""
        raise InvalidInput("No edge takes part in training a meta model: what their searches found is in the store.")

    def sentence(self, action: str, details: Mapping[str, Any]) -> str:
        """See `System.sentence`."""
        return str(details.get("verdict") or "") if action == "learned" else ""

    def summary(self, run: Run) -> dict[str, Any]:
        """See `System.summary`."""
        record = learning_of(run)
        if record is None:
            return {"meta_model": None, "gate_passed": None}
        known = record.model_dump(mode="json", include={"added", "devices", "passed_over"})
        model = record.trained
        if model is None:
            return {"meta_model": None, "gate_passed": None, "verdict": record.verdict, "searches": record.searches, **known}
        figures = model.model_dump(mode="json", include={"agreement", "held_out", "judged", "in_use", "compared_with"})
        weights = model.stored.weights.model_dump(mode="json", include={"sha256", "size"})
        return {
            "meta_model": {**weights, "layers": model.layers, "width": model.width},
            "gate_passed": record.passed,
            "verdict": record.verdict,
            "searches": record.searches,
            **known,
            **figures,
        }

    def print_outcome(self, console: "Console", run: Run) -> None:
        """See `System.print_outcome`."""
        from rich.table import Table

        record = learning_of(run)
        if record is None:
            return
        console.print(record.verdict, soft_wrap=True, markup=False)
        if record.passed_over:
            passed_over = f"Of the trace's entries {record.passed_over:,} cannot be believed and did not count"
            console.print(f"{passed_over}; the log of the step 'learn' names them and says why.", soft_wrap=True, markup=False)
        if record.devices:
            table = Table("device", "searches", "by a meta model", "by TPE", box=None)
            for name, each in record.devices.items():
                table.add_row(name, f"{each.searches:,}", f"{each.meta:,}", f"{each.tpe:,}")
            console.print()
            console.print(table)
        console.print()


SYSTEM = AutomlMetaSystem()
