"""Candidates are trained and measured, each as the very file that would be delivered."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cloudedge.automl import costs
from cloudedge.automl.graph import written
from cloudedge.automl.layers import layers_of
from cloudedge.automl.space import spec
from cloudedge.data import Samples
from cloudedge.documents.automl import MOST_FAULT, Candidate, Costs, DeviceDescription, Trial
from cloudedge.documents.kinds.search import Search
from cloudedge.errors import Diverged, WorkFailed
from cloudedge.files import atomic_write, disk_errors
from cloudedge.models import build
from cloudedge.seeds import derived_seed
from cloudedge.training import at_once, device, evaluate, train
from edge.calibration.calibrating import measured_costs, unlearned_file
from edge.folders import Folders
from edge.inputs import seed_of
from edge.messages import Job
from edge.results import place_for
from edge.searches.telling import Teller


@dataclass(frozen=True)
class Data:
    """What candidates learn from, and are compared on."""

    training: Samples
    held_out: Samples
    fingerprint: str


class Trainer:
    """Trains candidates and measures them."""

    def __init__(
        self,
        job: Job,
        asked: Search,
        samples: Data,
        description: DeviceDescription | None,
        teller: Teller,
    ) -> None:
        self._job, self._asked, self._samples, self._description = job, asked, samples, description
        self._teller = teller

    def unlearned_costs(self, candidate: Candidate) -> Costs:
        """What a candidate costs, measured with weights that have learned nothing."""
        return self._costs(unlearned_file(candidate, self._asked.data))

    def begins(self, trial: Trial) -> bool:
        """Whether the candidate's training would begin from nothing."""
        return not _checkpoint(Folders(Path(self._job.state)), self._job, trial).exists()

    def trained(self, trial: Trial) -> Trial:
        """Train a candidate, and measure the file that would be delivered; that lies at `file_of`."""
        asked, samples, folders = self._asked, self._samples, Folders(Path(self._job.state))
        network = spec(trial.candidate)
        seed = seed_of(self._job.order, derived_seed(asked.seed, "trial", trial.seed))
        model = build(network, asked.data, seed)
        model.to(device())
        checkpoint = _checkpoint(folders, self._job, trial)
        with disk_errors(checkpoint):
            checkpoint.parent.mkdir(parents=True, exist_ok=True)
        settings = asked.training.model_copy(update={"loss": trial.loss})
        teller = self._teller
        try:
            outcome = train(
                model,
                samples.training,
                samples.held_out,
                settings,
                seed,
                checkpoint=checkpoint,
                on_batch=teller.on_batch,
                on_epoch=teller.on_epoch,
            )
        except (Diverged, WorkFailed) as error:
            return failed(trial, str(error)).model_copy(update={"epochs": teller.epoch})
        teller.flush()
        model.load_state_dict(outcome.state)
        accuracy = evaluate(model, samples.held_out, settings.loss).accuracy
        content = written(network, asked.data, {name: tensor.numpy() for name, tensor in outcome.state.items()})
        atomic_write(file_of(self._job, trial), content)
        found = {
            "accuracy": accuracy,
            "epochs": outcome.history[-1].epoch,
            "seconds": sum(record.seconds for record in outcome.history),
        }
        try:
            return trial.model_copy(update={**found, "measured": self._costs(content)})
        except WorkFailed as error:
            return failed(trial, str(error)).model_copy(update=found)

    def clear(self, trial: Trial) -> None:
        """Remove what a training would go on from, which is over."""
        checkpoint = _checkpoint(Folders(Path(self._job.state)), self._job, trial)
        with disk_errors(checkpoint):
            checkpoint.unlink(missing_ok=True)

    def _costs(self, content: bytes) -> Costs:
        return measured_costs(content, threads=self._asked.threads, description=self._description)


def failed(trial: Trial, fault: str) -> Trial:
    """A trial that came to nothing, and why: there is no model of it to return."""
    return trial.model_copy(update={"accuracy": 0.0, "fault": fault[:MOST_FAULT]})


def forget_checkpoints(job: Job) -> None:
    """Have no training go on from where one of an earlier issue of the order was."""
    folder = Folders(Path(job.state)).received(job.order.id)
    for path in folder.glob("trial-*.safetensors"):
        with disk_errors(path):
            path.unlink(missing_ok=True)


def training_bytes(asked: Search, samples: Data) -> Callable[[Candidate], int] | None:
    """What a candidate's training takes of main memory; none: an accelerator trains, with its own."""
    if device().type != "cpu":
        return None
    batch, measured = min(asked.training.batch_size, len(samples.training)), at_once(samples.held_out)
    return lambda candidate: costs.training_bytes(layers_of(spec(candidate), asked.data), asked.training, batch, measured)


def file_of(job: Job, trial: Trial) -> Path:
    """Where the file of a trained candidate lies."""
    return place_for(job, f"trial-{name_of(trial)}.onnx")


def _checkpoint(folders: Folders, job: Job, trial: Trial) -> Path:
    return folders.received(job.order.id) / f"trial-{name_of(trial)}.safetensors"


def name_of(trial: Trial) -> str:
    """Tells a candidate, with its loss and seed, from the others of a search."""
    candidate = trial.candidate
    form = "growing" if candidate.growing else "even"
    return f"{candidate.layers}-{candidate.filters}-{candidate.kernel}-{form}-{trial.loss}-{trial.seed}"
