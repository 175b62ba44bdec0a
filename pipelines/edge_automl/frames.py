"""What searching on devices measured, as DataFrames."""

from typing import TYPE_CHECKING, Any

from cloud.orders.points import points_of_step
from cloud.runs.run import Run
from cloudedge.documents.automl import Costs
from cloudedge.errors import NotFound
from components.edge_automl.page.findings import DeviceStory, Findings, Tried, gather
from components.edge_automl.records import SEARCH
from pipelines.frames import Frames, by_epoch

if TYPE_CHECKING:
    import pandas


class AutomlFrames(Frames):
    """Those of searches on devices."""

    def accuracy(self, run: Run) -> "pandas.DataFrame":
        """See `Frames.accuracy`: by device, the most accurate first; each device's model is the final one there."""
        import pandas

        rows = {device.name: device.model.accuracy for device in _done(run).devices if device.model}
        frame = pandas.DataFrame({"fused": rows}, dtype=float).rename_axis("environment")
        return frame.sort_values("fused", ascending=False, kind="stable")

    def edges(self, run: Run) -> "pandas.DataFrame":
        """See `Frames.edges`: by device; there is one round."""
        import pandas

        rows = [_device(device) for device in _done(run).devices]
        index = ["edge", "round"]
        return pandas.DataFrame(rows, columns=None if rows else index).set_index(index)

    def epochs(self, run: Run) -> "pandas.DataFrame":
        """See `Frames.epochs`: epoch by epoch over all candidates of a device; there is one round."""
        return by_epoch(points_of_step(run, SEARCH))

    def trials(self, run: Run) -> "pandas.DataFrame":
        """See `Frames.trials`."""
        import pandas

        rows = [
            {"edge": device.name, "trial": place, **_trial(tried)}
            for device in _done(run).devices
            for place, tried in enumerate(device.tried(), start=1)
        ]
        index = ["edge", "trial"]
        return pandas.DataFrame(rows, columns=None if rows else index).set_index(index)


def _done(run: Run) -> Findings:
    found = gather(run)
    if not any(device.result for device in found.devices):
        raise NotFound(f"The run {run.id!r} has no results yet: no device has delivered.")
    return found


def _device(device: DeviceStory) -> dict[str, Any]:
    result, model = device.result, device.model
    return {
        "edge": device.name,
        "round": 1,
        "samples": result.samples if result else None,
        "trained": result.trained if result else None,
        "refused": result.refused if result else None,
        "screened out": result.screened_out if result else None,
        "accuracy after": model.accuracy if model else None,
        **_costs("", model.costs if model else None),
        "latency limit ms": result.limits.latency_ms if result else None,
        "left out": device.refusal or device.fault or device.standing,
    }


def _trial(tried: Tried) -> dict[str, Any]:
    trial = tried.trial
    return {
        **trial.candidate.model_dump(),
        "loss": trial.loss,
        "accuracy": trial.accuracy,
        "epochs": trial.epochs,
        "seconds": trial.seconds,
        **_costs("predicted ", trial.predicted),
        **_costs("measured ", trial.measured),
        "chosen": tried.chosen,
        "outcome": tried.outcome,
    }


def _costs(kind: str, costs: Costs | None) -> dict[str, float | None]:
    return {
        f"{kind}latency ms": costs.latency_ms if costs else None,
        f"{kind}bound ms": costs.latency_bound_ms if costs else None,
        f"{kind}memory bytes": costs.memory_bytes if costs else None,
        f"{kind}energy joules": costs.energy_joules if costs else None,
    }
