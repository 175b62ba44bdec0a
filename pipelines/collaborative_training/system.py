"""What collaborative training is to the command line, to the places where it runs, and to whoever looks at its runs."""

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloud.runs.run import Run
from cloudedge.documents import TrainingTask
from cloudedge.errors import InvalidInput
from pipelines.collaborative_training import display
from pipelines.collaborative_training.demo.demo import DigitsDemo
from pipelines.frames import Frames
from pipelines.systems import Place, System

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.dag import FormShape
    from pipelines.laptop.data import Data

_MOST_FLAT_ROUNDS: Mapping[Place, int] = {"laptop": 10, "kubeflow": 3}
"""Up to this many rounds a pipeline has a task for each step; beyond, one with all rounds, which costs less: on Kubeflow each
task is two pods."""


class CollaborativeTraining(System[TrainingTask]):
    """One model, pretrained in the cloud, trained at the edges, and fused."""

    document = TrainingTask
    modules = (
        "cloudedge.data",
        "cloudedge.models",
        "cloudedge.training",
        "cloudedge.weights",
        "components.collaborative_training.collaborate.entrypoint",
        "components.collaborative_training.fuse.entrypoint",
        "components.collaborative_training.pretrain.entrypoint",
        "components.collaborative_training.steps",
        "components.evaluate.entrypoint",
        "components.register.step",
    )
    edges_in_task = "collaboration.edges"
    instead_of_edges = "set collaborate to false"
    curve = "accuracy on the edges"
    demo = DigitsDemo("digits", edges=4)

    @property
    def frames(self) -> Frames:
        """See `System.frames`."""
        from pipelines.collaborative_training.frames import TrainingFrames

        return TrainingFrames()

    def in_words(self, task: TrainingTask) -> str:
        """See `System.in_words`."""
        how = f"{task.collaboration.rounds} rounds" if task.collaborate else "pretraining only"
        return f"{task.model.architecture}, {how}"

    def check(self, task: TrainingTask) -> None:
        """See `System.check`: what no pipeline carries, and architectures and rules that there are none of."""
        from cloud.fusion.rule import find_rule
        from cloudedge.models import build

        faults: list[str] = []
        checks: list[Callable[[], object]] = [
            lambda: self.form.values_of(task),
            lambda: build(task.model, task.data, task.seed),
        ]
        if task.collaborate:
            fusion = task.collaboration.fusion
            checks.append(lambda: find_rule(fusion.rule, fusion.parameters, task.collaboration.edges))
        for check in checks:
            try:
                check()
            except InvalidInput as error:
                faults.append(str(error))
        if faults:
            raise InvalidInput("\n".join(faults))

    def pipeline(self, task: TrainingTask, place: Place, compact: bool | None = None, shape: "FormShape" = "fields") -> Any:
        """See `System.pipeline`; a compact one has all rounds in one task."""
        rounds = task.collaboration.rounds if task.collaborate else 0
        if rounds > _MOST_FLAT_ROUNDS[place] if compact is None else compact:
            from pipelines.collaborative_training.compact import all_rounds_in_one

            return all_rounds_in_one(shape)
        from pipelines.collaborative_training.flat import with_rounds

        return with_rounds(rounds, shape)

    def packages(self) -> Mapping[str, Any]:
        """See `System.packages`."""
        from pipelines.collaborative_training.compact import all_rounds_in_one
        from pipelines.collaborative_training.flat import ROUNDS, with_rounds

        return {"collaborative_training": with_rounds(ROUNDS), "collaborative_training_compact": all_rounds_in_one()}

    def arguments(self, cloud_data: str, test_data: str) -> dict[str, Any]:
        """See `System.arguments`."""
        if not cloud_data:
            raise InvalidInput("Pretraining needs samples in the cloud: name them with --data store:NAME (cloudedge data put).")
        return {"cloud_data": cloud_data, "test_data": test_data}

    def arguments_at(self, data: "Data") -> dict[str, Any]:
        """See `System.arguments_at`."""
        from pipelines.collaborative_training.samples import require_cloud

        require_cloud(data)
        return super().arguments_at(data)

    def edges_of(self, task: TrainingTask) -> Collection[str] | None:
        """See `System.edges_of`."""
        return task.collaboration.edges if task.collaborate else None

    def with_edges(self, task: TrainingTask, edges: tuple[str, ...]) -> TrainingTask:
        """See `System.with_edges`."""
        from cloud.fusion.rule import find_rule

        find_rule(task.collaboration.fusion.rule, task.collaboration.fusion.parameters, edges)
        return task.model_copy(update={"collaboration": task.collaboration.model_copy(update={"edges": edges})})

    def require_samples(self, run: Run, task: TrainingTask, data: "Data") -> None:
        """See `System.require_samples`."""
        from pipelines.collaborative_training.samples import require_fit

        if run.evaluation() is None:
            require_fit(task, data)

    def remarks(self, task: TrainingTask, data: "Data", folders: Mapping[str, Path]) -> Iterator[tuple[str, dict[str, Any]]]:
        """See `System.remarks`."""
        from pipelines.collaborative_training.samples import unmeasured

        edges = unmeasured(task.data, folders)
        if edges:
            yield "unmeasured", {"edges": edges, "of": len(folders)}

    def sentence(self, action: str, details: Mapping[str, Any]) -> str:
        """See `System.sentence`."""
        return display.sentence(action, details)

    def newest(self, run: Run) -> dict[int, float]:
        """See `System.newest`."""
        return display.newest_accuracy(run)

    def overview(self, run: Run, task: TrainingTask) -> dict[str, Any]:
        """See `System.overview`."""
        return display.overview(run, task)

    def summary(self, run: Run) -> dict[str, Any]:
        """See `System.summary`."""
        return display.summary(run)

    def print_outcome(self, console: "Console", run: Run) -> None:
        """See `System.print_outcome`."""
        from pipelines.collaborative_training.outcome import print_outcome

        print_outcome(console, run)


SYSTEM = CollaborativeTraining()
