"""What AutoML at the edge is to the command line, to the places where it runs, and to whoever looks at its runs."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from cloud.pages.words import count
from cloud.runs.run import Run
from cloudedge.automl.layers import layers_of
from cloudedge.automl.screen import REFERENCE, milliseconds
from cloudedge.automl.space import spec
from cloudedge.documents.tasks.edge_automl import EdgeAutomlTask
from components.edge_automl.page.findings import beyond
from components.edge_automl.records import SEARCH, RankedDevice, Ranking, ranking_of
from pipelines.frames import Frames
from pipelines.systems import Place, System

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.dag import FormShape


class EdgeAutomlSystem(System[EdgeAutomlTask]):
    """The best model that each device can bear."""

    document = EdgeAutomlTask
    modules = (
        "cloudedge.deployable.checking",
        "components.edge_automl.rank.entrypoint",
        "components.edge_automl.steps",
        "components.register.step",
    )

    @property
    def frames(self) -> Frames:
        """See `System.frames`."""
        from pipelines.edge_automl.frames import AutomlFrames

        return AutomlFrames()

    def in_words(self, task: EdgeAutomlTask) -> str:
        """See `System.in_words`."""
        where = count(len(task.edges), "device") if task.edges else "all devices"
        return f"a search on {where}, {count(task.trials, 'trial')} each"

    def check(self, task: EdgeAutomlTask) -> None:
        """See `System.check`: the samples have to be images."""
        super().check(task)
        layers_of(spec(REFERENCE), task.data)

    def pipeline(self, task: EdgeAutomlTask, place: Place, compact: bool | None = None, shape: "FormShape" = "fields") -> Any:
        """See `System.pipeline`; there is one, whatever the task."""
        from pipelines.edge_automl.automl import pipeline

        return pipeline(shape)

    def packages(self) -> Mapping[str, Any]:
        """See `System.packages`."""
        from pipelines.edge_automl.automl import pipeline

        return {"edge_automl": pipeline()}

    def edges_of(self, task: EdgeAutomlTask) -> Collection[str] | None:
        """See `System.edges_of`."""
        return task.edges

    def with_edges(self, task: EdgeAutomlTask, edges: tuple[str, ...]) -> EdgeAutomlTask:
        """See `System.with_edges`."""
        return EdgeAutomlTask.model_validate(task.model_dump() | {"edges": edges})

    def sentence(self, action: str, details: Mapping[str, Any]) -> str:
        """See `System.sentence`."""
        if action == "ranked":
            best, accuracy = details.get("best"), details.get("accuracy")
            if not best or not isinstance(accuracy, float):
                return "No device has found a model within its limits."
            return f"The most accurate model within its limits is that of {best}: {accuracy:.1%}."
        return "Nothing is registered." if action == "refused" else ""

    def overview(self, run: Run, task: EdgeAutomlTask) -> dict[str, Any]:
        """See `System.overview`: the best model's accuracy."""
        ranking = ranking_of(run)
        best = ranking.devices[ranking.best].result if ranking and ranking.best else None
        return {"rounds": None, "pretrained": None, "fused": best.accuracy if best else None}

    def summary(self, run: Run) -> dict[str, Any]:
        """See `System.summary`."""
        ranking = ranking_of(run)
        if ranking is None:
            return {"best": None, "devices": {}, "missing": _missing(run)}
        devices = {edge: _summary(device) for edge, device in sorted(ranking.devices.items())}
        return {"best": ranking.best or None, "devices": devices, "missing": _missing(run)}

    def print_outcome(self, console: "Console", run: Run) -> None:
        """See `System.print_outcome`."""
        from rich.table import Table
        from rich.text import Text

        ranking = ranking_of(run)
        if ranking is None:
            return
        table = Table(box=None, pad_edge=False)
        for title in ("device", "accuracy", "latency", "at most", "limit", "trained", "screened out"):
            table.add_column(title, justify="left" if title == "device" else "right")
        for edge, device in sorted(ranking.devices.items()):
            result = device.result
            costs = (
                (milliseconds(result.costs.latency_ms), milliseconds(result.costs.latency_bound_ms))
                if result.costs
                else ("", "")
            )
            limit = "" if result.limits.latency_ms is None else milliseconds(result.limits.latency_ms)
            accuracy = "" if result.accuracy is None else f"{result.accuracy:.1%}"
            table.add_row(edge, accuracy, *costs, limit, str(result.trained), str(result.screened_out))
        console.print(table)
        console.print()
        for words, edges in _without_model(run, ranking).items():
            console.print(Text(f"{', '.join(edges)}: {words}"), soft_wrap=True)
            console.print()


def _missing(run: Run) -> dict[str, str]:
    """Why devices did not deliver."""
    waited = run.waited(SEARCH)
    return {one.edge: one.reason for one in waited.missing} if waited else {}


def _without_model(run: Run, ranking: Ranking) -> dict[str, list[str]]:
    """Why devices have no model; those that say the same together."""
    found: dict[str, list[str]] = {}
    for edge, reason in sorted(_missing(run).items()):
        found.setdefault(f"no result: {reason}", []).append(edge)
    for edge, device in sorted(ranking.devices.items()):
        if device.deployable is None:
            found.setdefault(device.words, []).append(edge)
    return found


def _summary(device: RankedDevice) -> dict[str, Any]:
    result, costs = device.result, device.result.costs
    return {
        "accuracy": result.accuracy,
        "trials": result.trained,
        "latency_ms": costs.latency_ms if costs else None,
        "latency_bound_ms": costs.latency_bound_ms if costs else None,
        "limit_ms": result.limits.latency_ms,
        "memory_bytes": costs.memory_bytes if costs else None,
        "energy_joules": costs.energy_joules if costs else None,
        "broken_limits": list(beyond(costs, result.limits)) if costs else [],
        "screened_out": result.screened_out,
        "refused": result.refused,
        "by": result.by,
        "why": result.why,
        "model": {"sha256": result.sha256, "candidate": result.candidate.model_dump() if result.candidate else None}
        if result.sha256
        else None,
        "nothing_feasible": result.nothing.model_dump(mode="json") if result.nothing else None,
        "fault": device.fault,
        "words": device.words,
    }


SYSTEM = EdgeAutomlSystem()
