"""Trains the received model on this edge's samples until it reaches its target, and writes the result and its manifest."""

import time
from collections.abc import Mapping
from pathlib import Path

from cloudedge import weights
from cloudedge.data import histogram
from cloudedge.documents import EpochRecord, Phase, Point, Stream, Train, Trained
from cloudedge.models import build
from cloudedge.training import Progress, device, evaluate, train, use_threads
from edge.folders import Folders
from edge.inputs import Collector, fetch, load_checked, seed_of
from edge.messages import Job, Message, Say
from edge.results import deliver, place_for

_PROGRESS_SECONDS = 0.5

_MOST_POINTS = 1000
"""Told at a time, when a checkpoint has many."""


def work(job: Job, asked: Train, say: Say) -> None:
    """Do an order to train.

    Raises:
        CloudedgeError: it cannot be done.
    """
    started = time.monotonic()
    order, folders = job.order, Folders(Path(job.state))
    use_threads(asked.training.threads)
    base = order.inputs["base"]
    say(Message(phase=Phase.FETCHING))
    received = fetch(job, base, folders.received(order.id) / asked.model_file_name)
    model = build(asked.model, asked.data, seed_of(order, asked.seed))
    load_checked(model, base, received)
    received_state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.to(device())

    collector, teller = Collector(job, asked.data, say), _Teller(say)
    collection = collector.first()
    while True:
        training = collector.require(collector.samples(collection, held_out=False))
        held_out = collector.samples(collection, held_out=True)
        most_epochs = asked.training.epochs * (1 + collection.number)
        gauges = {"samples": len(training), "held_out": len(held_out), "recollections": collection.number}
        teller.begin(most_epochs, gauges)
        model.load_state_dict(received_state)
        outcome = train(
            model,
            training,
            held_out,
            asked.training,
            seed_of(order, asked.seed),
            checkpoint=folders.checkpoint(order.id),
            extra_epochs=most_epochs - asked.training.epochs,
            on_batch=teller.on_batch,
            on_epoch=teller.on_epoch,
        )
        teller.flush()
        if outcome.target_met or collection.number >= asked.recollection.most:
            break
        further = collector.next(collection, asked.recollection.wait_seconds)
        if further is None:
            break
        collection = further

    say(Message(phase=Phase.EVALUATING))
    model.load_state_dict(received_state)
    scores = {"base": evaluate(model, held_out, asked.training.loss)}
    model.load_state_dict(outcome.state)
    scores["model"] = evaluate(model, held_out, asked.training.loss)
    trained = place_for(job, asked.model_file_name)
    lineage = {"run": order.run, "round": order.step, "edge": order.edge, "base_sha256": base.sha256}
    weights.save({name: tensor.cpu() for name, tensor in outcome.state.items()}, trained, lineage)
    result = Trained(
        base_sha256=base.sha256,
        samples=len(training),
        label_histogram=histogram(training.labels, asked.data),
        data_fingerprint=collector.fingerprint(collection),
        files_passed_over=len(collector.bad_files()),
        epochs=outcome.history[-1].epoch,
        scores=scores,
        target_met=outcome.target_met,
        recollections=collection.number,
    )
    deliver(job, result, time.monotonic() - started, {"model": trained})


class _Teller:
    """Tells of epochs once their checkpoint is written, and of batches not more often than anyone looks."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._next_batch = 0.0
        self._next_epoch = 0
        self._most_epochs = 0
        self._seconds = 0.0
        self._points: list[Point] = []
        self._gauges: dict[str, float] = {}

    def begin(self, most_epochs: int, gauges: Mapping[str, float]) -> None:
        """Tell that training begins, or goes on with further samples."""
        self._most_epochs, self._gauges = most_epochs, dict(gauges)
        self._say(Message(phase=Phase.TRAINING, progress=(self._epochs(),), gauges=self._gauges))

    def on_epoch(self, record: EpochRecord) -> None:
        """Remember an epoch; its checkpoint is written next. Those before it have theirs."""
        if record.epoch < self._next_epoch:
            return  # Training goes on with further samples.
        if len(self._points) >= _MOST_POINTS:
            self.flush()
        self._points.append(record.point(self._seconds))
        self._seconds = self._points[-1].seconds
        self._next_epoch = record.epoch + 1

    def on_batch(self, progress: Progress) -> None:
        """Tell of the epoch before, if this batch is the first of an epoch, and of the batch if it is time."""
        self.flush()
        if time.monotonic() >= self._next_batch:
            self._next_batch = time.monotonic() + _PROGRESS_SECONDS
            batches = Stream(name="batches", done=progress.batch, total=progress.batches, unit="batches")
            loss = {} if progress.loss is None else {"loss": progress.loss}
            self._say(Message(progress=(self._epochs(), batches), gauges=self._gauges | loss))

    def flush(self) -> None:
        """Tell of the epochs that were remembered."""
        if self._points:
            self._say(Message(progress=(self._epochs(),), gauges=self._gauges, points=tuple(self._points)))
            self._points = []

    def _epochs(self) -> Stream:
        return Stream(name="epochs", done=max(self._next_epoch - 1, 0), total=self._most_epochs, unit="epochs")
