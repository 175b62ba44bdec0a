"""Runs of searches on drawn devices: what the real search does there, as an edge delivers it.

What networks reach was really trained once (`cloudedge/automl/meta/digits.json`), and the meta model is the one that comes with
cloudedge; what networks cost follows from a drawn device, and is measured some percent off.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from cloud.runs.run import Run
from cloud.runs.step_records import Delivery, DispatchRecord, IssuedOrder, RunState, WaitRecord
from cloud.searches import meta_models
from cloudedge.automl.beginning import begin
from cloudedge.automl.graph import drawn, written
from cloudedge.automl.meta.files import SHIPPED
from cloudedge.automl.meta.model import MetaModel
from cloudedge.automl.meta.shipping import read_table
from cloudedge.automl.meta.simulating import Device, form
from cloudedge.automl.screen import Screen, bounds, broken, in_words
from cloudedge.automl.searching import Search
from cloudedge.automl.space import networks, spec
from cloudedge.deployable.checking import described
from cloudedge.documents import DataFormat, History, LeftOut, Manifest, OutputFile, Point, order_id
from cloudedge.documents.automl import (
    Candidate,
    Costs,
    DeviceState,
    NothingFeasible,
    Prediction,
    Processor,
    QueuedJob,
    Resources,
    SearchRecord,
    Trial,
    Usual,
)
from cloudedge.documents.deployable import Deployable, Lineage
from cloudedge.documents.kinds.search import Searched
from cloudedge.documents.tasks.edge_automl import Allowed, EdgeAutomlTask
from cloudedge.seeds import derived_seed
from cloudedge.store import DirectoryStore
from components.edge_automl.records import DEPLOYABLE, DONE, MODEL, SEARCH, RankedDevice, Ranking, meta_model_key
from tests.cloudedge.automl.devices import BOARD

AT = datetime(2026, 7, 1, 12, tzinfo=UTC)
SAMPLES = 1200

FREE = Resources(
    free_nodes_cpu=1.9,
    free_memory_cpu=2**28,
    average_power=3.2,
    origins={"free_nodes_cpu": "measured", "free_memory_cpu": "described", "average_power": "estimated"},
)


@dataclass(frozen=True)
class Site:
    """A device that searches.

    Attributes:
        device: What it is.
        resources: What it has to give.
        jobs: Its queue.
        usual: How it was over the last week; none: nobody looked.
        off: Share by which costs are measured off at most; above what is predicted more than below.
    """

    device: Device = BOARD
    resources: Resources = FREE
    jobs: tuple[QueuedJob, ...] = ()
    usual: Usual | None = None
    off: float = 0.12


SITES: Mapping[str, Site] = {
    "gate-1": Site(replace(BOARD, speed=4e8)),
    "gate-2": Site(replace(BOARD, speed=1e8)),
    "gate-10": Site(replace(BOARD, speed=3e7)),
}
"""A fast device, one of middle speed, and a slow one."""

BARREN = Site(replace(BOARD, overhead=0.02))
"""A device on which even the smallest network takes 20 ms."""

STRAIT = Site(replace(BOARD, layer=0.002))
"""A device on which each layer takes 2 ms: a deep network takes long, and a shallow one has the larger last layer."""


def data() -> DataFormat:
    """Format of the samples that the accuracies were reached on."""
    return form(read_table("digits"))


@cache
def shipped() -> MetaModel:
    """The meta model that comes with cloudedge."""
    return MetaModel.load(SHIPPED)


@cache
def accuracies(loss: str) -> Mapping[Candidate, float]:
    """What each network reached when it was trained."""
    table = read_table("digits")
    column = next(column for column in table.columns if column.loss == loss)
    return dict(zip(table.networks, column.accuracies, strict=True))


def accuracy(trial: Trial) -> float:
    """What a trial reaches; what no table knows of a loss is what it knows of cross-entropy."""
    known = {column.loss for column in read_table("digits").columns}
    return accuracies(trial.loss if trial.loss in known else "cross-entropy")[trial.candidate]


def task(**changes: Any) -> EdgeAutomlTask:
    """A search on some devices for what answers within 5 ms."""
    known = {"name": "Meters", "id": "meters-1", "data": data(), "allowed": Allowed(latency_ms=5), "trials": 5}
    return EdgeAutomlTask(**{**known, **changes})


def measured(site: Site, trial: Trial) -> Costs:
    """What a network costs when it is measured: some percent off what was predicted."""
    chance = derived_seed(0, trial.candidate.model_dump_json()) % 1000 / 1000
    factor = 1 + site.off * (chance - 0.3)
    predicted = trial.predicted
    return Costs(
        latency_ms=predicted.latency_ms * factor,
        latency_bound_ms=predicted.latency_bound_ms * factor,
        memory_bytes=round(predicted.memory_bytes * (1 + site.off * (chance - 0.6) / 2)),
        energy_joules=None if predicted.energy_joules is None else predicted.energy_joules * factor,
        origin="measured",
    )


def searched(order: str, name: str, site: Site, asked: EdgeAutomlTask) -> tuple[Searched, SearchRecord]:
    """What comes of a device's search."""
    state = DeviceState(jobs=site.jobs, resources=site.resources, at=AT, usual=site.usual)
    limits = bounds(asked.allowed.limits, state, asked.backlog_share)
    screen = Screen(site.device, asked.data, limits.limits)
    predictions = tuple(
        Prediction(candidate=each, predicted=screen.costs(each), broken=screen.broken(each)) for each in networks().everything
    )
    about: dict[str, Any] = {
        "limits": limits.limits,
        "screened_out": sum(bool(each.broken) for each in predictions),
        "processor": Processor(model="ARM Cortex-A53", cores=2, clock_mhz=1400),
        "samples": SAMPLES,
        "data_fingerprint": hashlib.sha256(name.encode()).hexdigest(),
        "calibration_seconds": 42.0,
        "calibration_why": "an inference takes 0.5 times as long as on 2026-11-20 10:00 UTC",
    }
    begun = begin(order, name, state, asked.allowed.limits, site.device, asked.data, shipped(), share=asked.backlog_share)
    if isinstance(begun, NothingFeasible):
        done = Searched(by="nobody", nothing=begun, words=in_words(begun), **about)
        return done, SearchRecord(state=state, limits=limits.limits, nothing=begun, predictions=predictions)
    search = Search(*begun, asked.trials, asked.seed)
    while trial := search.ask():
        search.tell(
            trial.model_copy(
                update={"accuracy": accuracy(trial), "epochs": 12, "seconds": 8.5, "measured": measured(site, trial)}
            )
        )
    row = search.row
    trained = [trial for trial in row.trials if trial.accuracy is not None]
    about["trained"] = len(trained)
    about["refused"] = sum(bool(trial.measured and broken(trial.measured, row.limits)) for trial in trained)
    if row.best is not None:
        best = row.trials[row.best]
        digest = hashlib.sha256(network_file(best.candidate, name)).hexdigest()
        about |= {"sha256": digest, "candidate": best.candidate, "loss": best.loss, "accuracy": best.accuracy}
        about["costs"] = best.measured
    return Searched(by=row.by, why=row.why, **about), SearchRecord(
        state=state, limits=limits.limits, row=row, predictions=predictions
    )


@dataclass
class Searches:
    """A run of searches, written into a store as its steps and its devices do.

    Attributes:
        store: The store.
        asked: The task.
        sites: The devices, by name.
        missing: Why a device did not deliver, by name.
        faults: Why a device's model is not taken, by name.
    """

    store: DirectoryStore
    asked: EdgeAutomlTask = field(default_factory=task)
    sites: Mapping[str, Site] = field(default_factory=lambda: SITES)
    missing: Mapping[str, str] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)

    @property
    def run(self) -> Run:
        """The run."""
        return Run(self.store, self.asked.id)

    def created(self) -> "Searches":
        """The run is there, and nothing of it done."""
        self.run.create(self.asked)
        return self

    def dispatched(self) -> "Searches":
        """The devices are asked."""
        self.created()
        orders = tuple(
            IssuedOrder(id=self._order(name), edge=name, step=SEARCH, attempt=1, issued_at=AT) for name in sorted(self._names)
        )
        record = DispatchRecord(edges=tuple(sorted(self._names)), orders=orders, kind="search")
        self.run.put(self.run.step_key(SEARCH, "dispatch.json"), record)
        self.run.put(meta_model_key(self.run), meta_models.shipped(self.store))
        return self

    def delivered(self, names: Sequence[str] | None = None) -> dict[str, Searched]:
        """Some devices are done; all that are not missing where none are named."""
        self.dispatched()
        return {name: self._deliver(name) for name in (self.sites if names is None else names) if name not in self.missing}

    def waited(self) -> dict[str, Searched]:
        """All devices are done."""
        results = self.delivered()
        record = WaitRecord(
            delivered=tuple(map(delivery, sorted(results))),
            missing=tuple(LeftOut(edge=name, reason=why) for name, why in self.missing.items()),
            seconds=60,
        )
        self.run.put(self.run.step_key(SEARCH, "wait.json"), record)
        return results

    def ranked(self) -> Ranking:
        """They were compared."""
        devices = {
            name: RankedDevice(result=result, fault=self.faults[name])
            if name in self.faults
            else RankedDevice(result=result, deployable=_deployable(self.asked, result, name))
            for name, result in self.waited().items()
        }
        taken = {
            name: one.result.accuracy for name, one in devices.items() if one.result.accuracy is not None and not one.fault
        }
        ranking = Ranking(devices=devices, best=max(taken, key=lambda name: taken[name]) if taken else "")
        self.run.put(self.run.key("ranking.json"), ranking)
        return ranking

    def ended(self, state: Any = "finished", message: str = "") -> Run:
        """All of it is over."""
        self.ranked()
        self.run.put(self.run.key("state.json"), RunState(state=state, message=message, at=AT))
        return self.run

    @property
    def _names(self) -> set[str]:
        return {*self.sites, *self.missing}

    def _order(self, name: str) -> str:
        return order_id(self.asked.id, SEARCH, name, 1)

    def _deliver(self, name: str) -> Searched:
        order = delivery(name)
        result, record = searched(self._order(name), name, self.sites[name], self.asked)
        points = tuple(
            Point(sequence=number, seconds=float(number), values={"trial": number // 3, "accuracy": 0.3 * (number % 3)})
            for number in range(3 * result.trained)
        )
        files = {DONE: record.to_json(), "history": History(order=self._order(name), points=points).to_json()}
        deployable = _deployable(self.asked, result, name)
        if deployable:
            assert result.candidate
            files |= {MODEL: network_file(result.candidate, name), DEPLOYABLE: deployable.to_json()}
        outputs = {}
        for output, content in files.items():
            self.store.put(self.run.output_key(order, output), content)
            digest = hashlib.sha256(content).hexdigest()
            outputs[output] = OutputFile(file=f"{output}.json", sha256=digest, size=len(content))
        manifest = Manifest(order=self._order(name), edge=name, outputs=outputs, result=result, seconds=60, points=len(points))
        self.store.put(self.run.manifest_key(order), manifest.to_json())
        return result


def delivery(edge: str) -> Delivery:
    """A device's only one."""
    return Delivery(edge=edge, step=SEARCH, attempt=1)


def claimed(searches: Searches, edge: str, **result: Any) -> None:
    """A device says something else of its result."""
    key = searches.run.manifest_key(delivery(edge))
    manifest = json.loads(searches.store.get(key, 1 << 24))
    manifest["result"] |= result
    searches.store.put(key, json.dumps(manifest).encode())


def retold(searches: Searches, edge: str, change: Callable[[Any], object], output: str = DONE) -> None:
    """A device says something else of its search or its model, and its manifest has the digest of that."""
    key, manifest_key = searches.run.output_key(delivery(edge), output), searches.run.manifest_key(delivery(edge))
    said = json.loads(searches.store.get(key, 1 << 24))
    change(said)
    content = json.dumps(said).encode()
    searches.store.put(key, content)
    manifest = json.loads(searches.store.get(manifest_key, 1 << 24))
    manifest["outputs"][output] |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    searches.store.put(manifest_key, json.dumps(manifest).encode())


@cache
def network_file(candidate: Candidate, name: str) -> bytes:
    """A network's ONNX file, as a device would deliver it: another one at each."""
    network = spec(candidate)
    return written(network, data(), drawn(network, data(), seed=derived_seed(0, name)))


def _deployable(asked: EdgeAutomlTask, result: Searched, device: str) -> Deployable | None:
    if not result.sha256:
        return None
    assert result.candidate
    content = network_file(result.candidate, device)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(content)
        inputs, outputs = described(path)
    return Deployable(
        name=asked.registered_model,
        sha256=result.sha256,
        size=len(content),
        inputs=inputs,
        outputs=outputs,
        classes=asked.data.classes,
        lineage=Lineage(run=asked.id, edge=device),
    )
