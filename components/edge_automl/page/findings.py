"""What is known of a run's searches, read from the store once and as far as it can be read."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

from cloud.orders.watch import OrderWatch
from cloud.pages.words import natural
from cloud.runs.run import OfAnOrder, Run
from cloud.searches.meta_models import MetaModelRecord
from cloud.tracking import Registered, registered_of
from cloudedge.automl.screen import bounds, excess, times
from cloudedge.documents.automl import Candidate, Costs, Limit, Limits, Prediction, SearchRecord, Trial
from cloudedge.documents.kinds.search import Searched
from cloudedge.documents.tasks.edge_automl import EdgeAutomlTask
from cloudedge.errors import CloudedgeError, StoreFailed
from components.edge_automl.records import MODEL, SEARCH, ranking_of, search_of, used_meta_model

T = TypeVar("T")


class Tried(NamedTuple):
    """A network that was tried, and what became of it.

    Attributes:
        trial: What was done.
        outcome: What became of it, in words.
        kept: Whether it keeps all limits as it was measured.
        chosen: Whether it is the device's model.
    """

    trial: Trial
    outcome: str
    kept: bool
    chosen: bool


@dataclass(frozen=True)
class DeviceStory:
    """What came of one device.

    Attributes:
        name: Its name.
        standing: How its order stands, or why it did not deliver; empty: it delivered.
        result: What it says, once it has delivered.
        record: All that its search did; none: it has not delivered, or that cannot be read.
        fault: What of it cannot be read, and why.
        refusal: Why its model is not taken.
        size: Length of its model's file in bytes; 0: not known.
    """

    name: str
    standing: str = ""
    result: Searched | None = None
    record: SearchRecord | None = None
    fault: str = ""
    refusal: str = ""
    size: int = 0

    @property
    def model(self) -> Searched | None:
        """What it says of its model; none: it has none, or none that is taken."""
        return self.result if self.result and self.result.sha256 and not self.refusal else None

    @property
    def screened(self) -> tuple[Prediction, ...]:
        """The networks that are expected to break a limit."""
        return tuple(each for each in self.record.predictions if each.broken) if self.record else ()

    @property
    def spared(self) -> tuple[Prediction, ...]:
        """Those that would fit by what was predicted of them, but cost no less than one that was measured above a limit."""
        return self._would_fit({trial.candidate for trial in self._trials if _is_spared(trial)}.__contains__)

    @property
    def untried(self) -> tuple[Prediction, ...]:
        """The networks that would fit and were not tried."""
        tried = {trial.candidate for trial in self._trials}
        return self._would_fit(lambda candidate: candidate not in tried)

    @property
    def by_limit(self) -> Mapping[Limit, int]:
        """How many networks are expected to break each limit; one may break several."""
        return Counter(limit for each in self.screened for limit in each.broken)

    def tried(self) -> list[Tried]:
        """What was tried in this order, those included that were screened out on the way."""
        row = self.record.row if self.record else None
        if row is None:
            return []
        return [_tried(trial, row.limits, place == row.best, self.refusal) for place, trial in enumerate(row.trials)]

    @property
    def _trials(self) -> tuple[Trial, ...]:
        return self.record.row.trials if self.record and self.record.row else ()

    def _would_fit(self, wanted: Callable[[Candidate], bool]) -> tuple[Prediction, ...]:
        predictions = self.record.predictions if self.record else ()
        return tuple(each for each in predictions if not each.broken and wanted(each.candidate))

    def predicted(self, candidate: Candidate) -> Prediction | None:
        """What a network is expected to cost here."""
        predictions = self.record.predictions if self.record else ()
        return next((each for each in predictions if each.candidate == candidate), None)


@dataclass(frozen=True)
class Findings:
    """A run's searches.

    Attributes:
        task: What was asked for.
        devices: Those that take part, sorted by name.
        waited: Whether nothing more is waited for.
        best: Device whose model is the most accurate one, so far; empty: there is no model.
        ranked: Whether the devices' models were compared, so that it is settled.
        meta: The meta model, once it is settled.
        registered: The version that the best one became.
    """

    task: EdgeAutomlTask
    devices: tuple[DeviceStory, ...] = ()
    waited: bool = False
    best: str = ""
    ranked: bool = False
    meta: MetaModelRecord | None = None
    registered: Registered | None = None

    def device(self, name: str) -> DeviceStory | None:
        """A device; none: it takes no part."""
        return next((device for device in self.devices if device.name == name), None)

    @property
    def winner(self) -> DeviceStory | None:
        """The device of the best model."""
        return self.device(self.best) if self.best else None


def gather(run: Run) -> Findings:
    """Read a run. What of its searches cannot be read is said where it is missing.

    Raises:
        NotFound: there is no such run.
        InvalidInput: it is of another system.
        StoreFailed: the store does not do its work.
    """
    task = run.task_for(EdgeAutomlTask)
    ranking, waited = _if_readable(lambda: ranking_of(run)), _if_readable(lambda: run.waited(SEARCH))
    if waited:
        devices = [_delivered(run, each) for each in waited.delivered]
        devices += [DeviceStory(missing.edge, standing=missing.reason) for missing in waited.missing]
    else:
        devices = _under_way(run)
    if ranking:
        known = {device.name: device for device in devices}
        devices = [*(device for device in devices if device.name not in ranking.devices)]
        for name, ranked in ranking.devices.items():
            device = known.get(name, DeviceStory(name))
            size = ranked.deployable.size if ranked.deployable else device.size
            devices.append(replace(device, standing="", result=ranked.result, refusal=ranked.fault, size=size))
    devices.sort(key=lambda device: natural(device.name))
    return Findings(
        task=task,
        devices=tuple(devices),
        waited=waited is not None or ranking is not None,
        best=ranking.best if ranking else _best(devices),
        ranked=ranking is not None,
        meta=_if_readable(lambda: used_meta_model(run)),
        registered=_if_readable(lambda: registered_of(run.store, run.id)),
    )


def beyond(costs: Costs, limits: Limits) -> dict[Limit, float]:
    """How many times a limit what a network costs is, by the limits that it breaks; energy that is not known breaks none."""
    known = limits if costs.energy_joules is not None else limits.model_copy(update={"energy_joules": None})
    return {limit: by + 1 for limit, by in excess(costs, known).items() if by > 0}


def in_times(broken: Mapping[Limit, float]) -> str:
    """The same in words: 'latency 1.3 times its limit'."""
    return ", ".join(
        f"{limit} {f'{times(by)} times its limit' if by != float('inf') else 'where none is allowed'}"
        for limit, by in broken.items()
    )


def reasons(task: EdgeAutomlTask, device: DeviceStory) -> Mapping[Limit, str]:
    """Where the limits come from that held on a device, by name."""
    record = device.record
    if record is None:
        return device.result.nothing.why if device.result and device.result.nothing else {}
    if record.nothing:
        return record.nothing.why
    held = bounds(task.allowed.limits, record.state, task.backlog_share)
    # A device whose software has other rules says by its limits that these reasons are not its own.
    return held.why if held.limits == record.limits else {}


def _is_spared(trial: Trial) -> bool:
    return bool(trial.broken) and trial.accuracy is None and trial.measured is None


def _tried(trial: Trial, limits: Limits, best: bool, refusal: str) -> Tried:
    broken = beyond(trial.measured or trial.predicted, limits)
    if trial.fault:
        return Tried(trial, f"training came to nothing: {trial.fault}", kept=False, chosen=False)
    if trial.accuracy is None:
        how = "refused before it was trained" if trial.measured else "screened out"
        # What is predicted to fit was screened out all the same where one that costs no more was measured above a limit.
        spared = f"it costs no less than one that was measured above its limit of {' and '.join(trial.broken)}"
        why = in_times(broken) or (spared if _is_spared(trial) else "")
        return Tried(trial, f"{how}: {why}" if why else how, kept=False, chosen=False)
    if trial.measured is None:
        return Tried(trial, "not measured, so not to be chosen", kept=False, chosen=False)
    if broken:
        return Tried(trial, f"refused: {in_times(broken)}", kept=False, chosen=False)
    if best and refusal:
        return Tried(trial, f"not taken: {refusal}", kept=True, chosen=False)
    return Tried(trial, "chosen" if best else "keeps the limits", kept=True, chosen=best)


def _delivered(run: Run, order: OfAnOrder) -> DeviceStory:
    """What a device delivered, as far as it can be read."""
    try:
        manifest = run.manifest(order)
    except StoreFailed:
        raise
    except CloudedgeError as error:
        return DeviceStory(order.edge, fault=f"What it says cannot be read: {error}")
    if not isinstance(manifest.result, Searched):
        return DeviceStory(order.edge, fault="What it says is not about a search.")
    size = manifest.outputs[MODEL].size if MODEL in manifest.outputs else 0
    try:
        record, fault = search_of(run, order), ""
    except StoreFailed:
        raise
    except CloudedgeError as error:
        record, fault = None, f"What its search did cannot be read: {error}"
    return DeviceStory(order.edge, result=manifest.result, record=record, fault=fault, size=size)


def _under_way(run: Run) -> list[DeviceStory]:
    """The devices while they work."""
    try:
        watch = OrderWatch.of(run, SEARCH)
        watch.look()
    except StoreFailed:
        raise
    except CloudedgeError:  # They are not asked yet, or the record of it cannot be read.
        return []
    return [
        _delivered(run, watched.order) if watched.delivered else DeviceStory(name, standing=watched.state())
        for name, watched in watch.edges.items()
    ]


def _best(devices: list[DeviceStory]) -> str:
    models = {device.name: device.model.accuracy or 0.0 for device in devices if device.model}
    return max(models, key=lambda name: models[name], default="")


def _if_readable(read: Callable[[], T | None]) -> T | None:
    try:
        return read()
    except StoreFailed:
        raise
    except CloudedgeError:
        return None
