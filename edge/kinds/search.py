"""Searches on this device for the best model that it can bear, and measures what it costs before anybody gets it.

A candidate is measured with weights that have learned nothing before it costs a second of training, since what it costs does
not depend on what it learned; and once more as the file that would be delivered, which is refused if it breaks a limit then.
What a search did is kept before it goes on, so that another try goes on where this one ended: at the candidate that it was at,
from the last epoch of that.
"""

import time
from pathlib import Path

from cloudedge import __version__
from cloudedge.automl.beginning import begin, taken_up
from cloudedge.automl.meta.files import CARD, WEIGHTS
from cloudedge.automl.meta.model import MetaModel
from cloudedge.automl.predicting import CalibratedPredictor
from cloudedge.automl.screen import Screen, bounds, broken, unknown_energy
from cloudedge.automl.searching import Search as Searching
from cloudedge.automl.space import networks
from cloudedge.documents import Phase, Stream
from cloudedge.documents.automl import MOST_FAULT, Calibration, NothingFeasible, Prediction, SearchRecord, TraceRow
from cloudedge.documents.kinds.search import Search
from cloudedge.errors import InvalidDocument, InvalidModel, InvalidSamples, WorkFailed
from cloudedge.seeds import derived_seed
from cloudedge.training import use_threads
from edge.calibration.keeping import calibrated, kept
from edge.folders import Folders
from edge.inputs import Collector, fetch
from edge.messages import Job, Message, Say
from edge.probes.description import description_of
from edge.probes.power import knows_power
from edge.probes.state import state_of
from edge.searches.delivery import Delivery
from edge.searches.telling import Teller
from edge.searches.trace import Calibrating, Searches
from edge.searches.training import Data, Trainer, failed, forget_checkpoints, name_of, training_bytes

_PROGRESS_SECONDS = 0.5

_MOST_BEGUN = 2
"""Times that a candidate's training begins from nothing. One that takes the process with it, as when memory runs out, is given
up before the runner gives up the whole order."""

_DIED = (
    f"Its training ended the process {_MOST_BEGUN} times before an epoch was over, as happens when memory runs out. Lower the "
    "batch size, or give the device more memory."
)


def work(job: Job, asked: Search, say: Say) -> None:
    """Do an order to search.

    Raises:
        CloudedgeError: it cannot be done.
    """
    started = time.monotonic()
    order, folders = job.order, Folders(Path(job.state))
    searches = Searches(folders.searches)
    if not job.begun:  # The cloud may have issued the order again. Once anything is said, it is begun.
        searches.forget(order.id)
        forget_checkpoints(job)
    use_threads(asked.training.threads)
    say(Message(phase=Phase.FETCHING))
    meta, lacking = _meta_model(job)
    samples = _samples(job, asked, say)
    say(Message(phase=Phase.EVALUATING))
    description = description_of(folders)
    if asked.limits.energy_joules is not None and not kept(folders) and not knows_power(description):
        raise unknown_energy(asked.limits.energy_joules)  # Now, and not after minutes of calibrating.
    row = searches.row(order.id)
    calibration = _calibration(job, asked, searches, say)
    predictor, training = CalibratedPredictor(calibration), training_bytes(asked, samples)
    if row is None:
        state = state_of(folders, description, but=order.id)
        begun = begin(
            order.id,
            order.edge,
            state,
            asked.limits,
            predictor,
            asked.data,
            meta,
            lacking=lacking,
            loss=asked.training.loss,
            share=asked.backlog_share,
            training=training,
        )
    else:
        state, begun = row.state, taken_up(row, predictor, asked.data, training)
    delivery = Delivery(job, asked, samples, calibration, searches.calibrated(order.id), started)
    if isinstance(begun, NothingFeasible):
        screen = Screen(predictor, asked.data, bounds(asked.limits, state, asked.backlog_share).limits, training)
        record = SearchRecord(state=state, limits=screen.limits, nothing=begun, predictions=_predictions(screen))
        delivery.deliver(record)
        return
    searches.keep(begun.row)
    say(Message(phase=Phase.TRAINING))
    teller = Teller(say, asked)
    search = Searching(*begun, asked.trials, derived_seed(asked.seed, "search", order.edge))
    row = _searched(search, asked, searches, Trainer(job, asked, samples, description, teller), teller)
    say(Message(phase=Phase.EVALUATING))
    predictions = _predictions(begun.screen)
    delivery.deliver(SearchRecord(state=row.state, limits=row.limits, row=row, predictions=predictions))


def _searched(search: Searching, asked: Search, searches: Searches, trainer: Trainer, teller: Teller) -> TraceRow:
    """A search to its end, kept step by step."""
    while not _met(search.row, asked) and (trial := search.ask()) is not None:
        teller.begin(search.row)
        try:
            costs = trainer.unlearned_costs(trial.candidate)
        except WorkFailed as error:
            search.tell(failed(trial, str(error)))
        else:
            beyond = broken(costs, search.row.limits)
            if beyond:
                search.refuse(trial.model_copy(update={"measured": costs, "broken": beyond}))
            elif trainer.begins(trial) and searches.begin(search.row.id, name_of(trial)) > _MOST_BEGUN:
                search.tell(failed(trial, _DIED))
            else:
                search.tell(trainer.trained(trial))
        searches.keep(search.row)
        trainer.clear(trial)
    searches.keep(search.row)  # With what was screened out at the end.
    teller.end(search.row)
    return search.row


def _meta_model(job: Job) -> tuple[MetaModel | None, str]:
    """The meta model that the order brings; or none, and why it cannot be used here."""
    folder = Folders(Path(job.state)).received(job.order.id)
    fetch(job, job.order.inputs["meta"], folder / WEIGHTS)
    fetch(job, job.order.inputs["card"], folder / CARD)
    try:
        return MetaModel.load(folder), ""
    except (InvalidDocument, InvalidModel) as error:
        words = f"The meta model that was sent cannot be used by cloudedge {__version__}: {' '.join(str(error).split())}"
        return None, words[:MOST_FAULT]


def _samples(job: Job, asked: Search, say: Say) -> Data:
    collector = Collector(job, asked.data, say)
    collection = collector.first()
    training = collector.require(collector.samples(collection, held_out=False))
    held_out = collector.samples(collection, held_out=True)
    if not len(held_out):
        raise InvalidSamples(
            f"None of the {len(training)} samples of this edge is held out, so that no two networks could be compared. Collect "
            "more samples of each class."
        )
    classes = sorted(set(training.labels.tolist()))
    if len(classes) < 2:
        raise InvalidSamples(
            f"All {len(training)} samples of this edge are of the class {asked.data.classes[classes[0]]!r}, so that a network "
            "would learn to say nothing else. Collect samples of other classes, too."
        )
    return Data(training, held_out, collector.fingerprint(collection))


def _calibration(job: Job, asked: Search, searches: Searches, say: Say) -> Calibration:
    """What networks cost here. Whether that still holds is looked at once, as the search begins: another try keeps to it."""
    order, told = job.order, 0.0

    def tell(phase: str, done: int, total: int) -> None:
        nonlocal told
        if done == total or time.monotonic() >= told + _PROGRESS_SECONDS:
            told = time.monotonic()
            stream = Stream(name="calibration", done=done, total=total, unit=f"networks measured ({phase})")
            say(Message(progress=(stream,)))

    begins = searches.row(order.id) is None and searches.calibrated(order.id) is None
    found = calibrated(
        Folders(Path(job.state)), asked.data, threads=asked.threads, check=begins, seconds=asked.calibration_seconds, say=tell
    )
    if found.now:
        searches.calibrate(order.id, Calibrating(found.calibration.seconds, found.why))
    return found.calibration


def _predictions(screen: Screen) -> tuple[Prediction, ...]:
    return tuple(
        Prediction(candidate=each, predicted=screen.costs(each), broken=screen.broken(each)) for each in networks().everything
    )


def _met(row: TraceRow, asked: Search) -> bool:
    """Whether a model that keeps the limits is as accurate as is asked for."""
    target = asked.training.target_accuracy
    return target > 0 and row.best is not None and (row.trials[row.best].accuracy or 0.0) >= target
