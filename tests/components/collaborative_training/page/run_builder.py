"""Runs as the pipeline's steps leave them in the store, made up from a few plausible curves."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cloud.runs.run import Run
from cloud.runs.step_records import Delivery, Evaluation, Gate, ModelScores, PretrainingRecord, RunState, WaitRecord
from cloudedge.documents import (
    Collaboration,
    ContributionRecord,
    DataFormat,
    EpochRecord,
    Event,
    Fusion,
    FusionRecord,
    LeftOut,
    Manifest,
    ModelSpec,
    OutputFile,
    SampleField,
    Scores,
    Trained,
    Training,
    TrainingTask,
    order_id,
)
from cloudedge.store import DirectoryStore

BEGAN = datetime(2025, 3, 4, 9, 30, tzinfo=UTC)
PRETRAINED = 0.551
DIGITS = tuple("0123456789")


@dataclass
class RunBuilder:
    """A run in the making: set what is of interest, then build it."""

    folder: Path
    name: str = "Digits on the shop floor"
    edges: Sequence[str] = tuple(f"edge-{number}" for number in range(1, 6))
    environments: Sequence[str] = ("clean", "dim", "glare", "noisy", "rotated")
    classes: Sequence[str] = DIGITS
    rounds: int = 5
    seed: int = 0
    """The greater, the worse are the models."""
    left_out: dict[tuple[int, str], str] = field(default_factory=dict)
    """Reasons by round and edge."""
    late: dict[tuple[int, str], int] = field(default_factory=dict)
    """Rounds that a late model was ordered in, by round of the fusion and edge."""
    joined: dict[str, int] = field(default_factory=dict)
    """Rounds of edges' first models, where it is not round 1."""
    passed: bool = True
    evaluated: bool = True
    state: str = "finished"
    message: str = ""

    def build(self) -> Run:
        """Write the run's objects."""
        run = Run(DirectoryStore(self.folder), "digits")
        run.create(self._task())
        self._events: list[Event] = []
        self._at = BEGAN
        self._did("pretrain", "created", 0, name=self.name)
        run.put(run.key("pretrained", "record.json"), self._pretraining())
        self._did("pretrain", "pretrained", 3.4, sha256=digest("round 0"), accuracy=0.58)
        for number in range(1, self.rounds + 1):
            self._round(run, number)
        if self.evaluated:
            run.put(run.key("evaluation.json"), self._evaluation())
            self._did("evaluate", "evaluated", 1.8, sha256=digest(f"round {self.rounds}"))
            if self.passed:
                self._did("register", "registered", 0.4, model="digits")
            else:
                self._did("register", "refused", 0.4)
        state = RunState.model_validate({"state": self.state, "message": self.message, "at": self._at})
        run.put(run.key("state.json"), state)
        for index, event in enumerate(self._events):
            run.put(run.key("events", f"{event.at:%Y%m%dT%H%M%S.%f}Z-{index:06d}.json"), event)
        return run

    def accuracy(self, number: int) -> float:
        """Of the model after so many rounds, on the edges' held-out samples."""
        return PRETRAINED + (0.93 - PRETRAINED) * (1 - 0.55**number) - 0.01 * self.seed

    def _task(self) -> TrainingTask:
        return TrainingTask(
            name=self.name,
            id="digits",
            model_file_name="digits.safetensors",
            model=ModelSpec(architecture="mlp", parameters={"layers": 2, "width": 64}),
            data=DataFormat(
                storage="npz",
                fields=(SampleField(name="image", shape=(1, 8, 8), dtype="uint8", scale=1 / 16),),
                classes=tuple(self.classes),
            ),
            seed=self.seed,
            pretraining=Training(epochs=20),
            collaborate=self.rounds > 0,
            collaboration=Collaboration(
                rounds=max(self.rounds, 1), training=Training(epochs=5), fusion=Fusion(base_weight=0.1)
            ),
        )

    def _did(self, actor: str, action: str, seconds: float, **details: object) -> None:
        self._at += timedelta(seconds=seconds)
        self._events.append(Event(run="digits", at=self._at, actor=f"pipeline/{actor}", action=action, details=details))

    def _pretraining(self) -> PretrainingRecord:
        return PretrainingRecord(
            sha256=digest("round 0"),
            size=23_144,
            samples=160,
            label_histogram=dict.fromkeys(self.classes, 16),
            history=tuple(epoch(number, 0.58 - 0.48 * 0.7**number) for number in range(21)),
            target_met=True,
            seconds=3.1,
        )

    def _round(self, run: Run, number: int) -> None:
        self._did(
            f"dispatch-{number}",
            "dispatched",
            0.3,
            round=number,
            orders=[order_id("digits", str(number), e, 1) for e in self.edges],
        )
        present = [edge for edge in self.edges if (number, edge) not in self.left_out]
        missing = tuple(LeftOut(edge=edge, reason=self.left_out[number, edge]) for edge in self.edges if edge not in present)
        delivered = tuple(Delivery(edge=edge, step=str(self.late.get((number, edge), number)), attempt=1) for edge in present)
        seconds = 4.2 + number % 3
        run.put(run.round_key(number, "wait.json"), WaitRecord(delivered=delivered, missing=missing, seconds=seconds))
        self._did(
            f"wait-{number}", "waited", seconds, round=number, delivered=len(delivered), missing=[m.edge for m in missing]
        )
        contributions = []
        for delivery in delivered:
            index = self.edges.index(delivery.edge)
            trained = self._trained(number, index)
            model = OutputFile(sha256=digest(f"{delivery.edge} {delivery.step}"), size=23_144)
            order = order_id("digits", delivery.step, delivery.edge, 1)
            manifest = Manifest(order=order, edge=delivery.edge, outputs={"model": model}, result=trained, seconds=2.0)
            run.put(run.manifest_key(delivery), manifest)
            contributions.append(
                ContributionRecord(
                    edge=delivery.edge,
                    round=int(delivery.step),
                    sha256=model.sha256,
                    samples=trained.samples,
                    accuracy=trained.scores["model"].accuracy,
                    weight=0.9 / len(present),
                )
            )
        record = FusionRecord(
            run="digits",
            round=number,
            rule="samples",
            base_sha256=digest(f"round {number - 1}"),
            base_weight=0.1,
            base_accuracy=self.accuracy(number - 1),
            contributions=tuple(contributions),
            left_out=missing,
            sha256=digest(f"round {number}"),
            size=23_144,
            seconds=0.02,
            bytes_read=23_144 * (len(present) + 1),
        )
        run.put(run.round_key(number, "fusion.json"), record)
        self._did(f"fuse-{number}", "fused", 0.5, round=number, sha256=record.sha256, edges=present)

    def _trained(self, number: int, index: int) -> Trained:
        before = self.accuracy(number - 1) + wobble(f"{index} {number}", 0.06)
        after = min(0.9 + 0.02 * (number - 1) / max(self.rounds - 1, 1) + wobble(f"{index} {number} after", 0.04), 1.0)
        counts = {name: round(8 + 52 * abs(wobble(f"{index} {name}", 1.0)) ** 2) for name in self.classes}
        counts[self.classes[index % len(self.classes)]] = 0
        return Trained(
            base_sha256=digest(f"round {number - 1}"),
            samples=sum(counts.values()),
            label_histogram=counts,
            epochs=5,
            scores={"base": scores(before, 60), "model": scores(after, 60)},
            target_met=index != 2,
            recollections=2 if index == 2 else 0,
            files_passed_over=3 if index == 2 else 0,
        )

    def _evaluation(self) -> Evaluation:
        models = []
        for number in range(self.rounds + 1):
            by = {name: self.accuracy(number) - 0.03 + wobble(f"{name} {number}", 0.05) for name in self.environments}
            models.append(ModelScores(name=f"fused-{number}" if number else "pretrained", round=number, scores=_with_all(by)))
        for index, edge in enumerate(self.edges if self.rounds else ()):
            by = {
                name: 0.93 if place == index % len(self.environments) else 0.55 + wobble(f"{edge} {name}", 0.15)
                for place, name in enumerate(self.environments)
            }
            models.append(ModelScores(name=edge, trained_in=self.joined.get(edge, 1), scores=_with_all(by)))
        return Evaluation(
            rounds=self.rounds,
            sha256=digest(f"round {self.rounds}"),
            size=23_144,
            gate=self._gate() if self.rounds else None,
            models=tuple(models) if self.environments else (),
            confusion=self._confusion() if self.environments else (),
        )

    def _gate(self) -> Gate:
        fused = self.accuracy(self.rounds) if self.passed else 0.49
        edges = {
            edge: {
                "pretrained": scores(PRETRAINED + wobble(edge, 0.08), 60),
                "fused": scores(fused + wobble(f"{edge} fused", 0.05), 60),
            }
            for edge in self.edges
        }
        return Gate(passed=self.passed, pretrained=PRETRAINED, fused=fused, samples=60 * len(self.edges), edges=edges)

    def _confusion(self) -> tuple[tuple[int, ...], ...]:
        size = len(self.classes)
        return tuple(
            tuple(170 if true == predicted else max(0, round(wobble(f"{true} {predicted}", 9))) for predicted in range(size))
            for true in range(size)
        )


def digest(text: str) -> str:
    """Some model's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()


def wobble(text: str, width: float) -> float:
    """A number between -width and width that looks random and never changes."""
    return (int(digest(text)[:8], 16) / 2**31 - 1) * width


def scores(accuracy: float, samples: int) -> Scores:
    """Scores with this accuracy."""
    return Scores(samples=samples, loss=2 * (1 - accuracy), accuracy=min(max(accuracy, 0.0), 1.0), recall=0.5)


def epoch(number: int, accuracy: float) -> EpochRecord:
    """A finished epoch."""
    return EpochRecord(epoch=number, train_loss=0.4 if number else None, scores=scores(accuracy, 40), seconds=0.1)


def _with_all(accuracies: dict[str, float]) -> dict[str, Scores]:
    by = {name: scores(accuracy, 360) for name, accuracy in accuracies.items()}
    mean = sum(accuracies.values()) / len(accuracies) if accuracies else 0.0
    return {**by, "all": scores(mean, 360 * len(accuracies))}
