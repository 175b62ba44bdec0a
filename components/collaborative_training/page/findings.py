"""All that the report tells of a run, read from its objects once."""

from dataclasses import dataclass

from cloud.pages.words import MOST_EDGES, MOST_ENVIRONMENTS, natural
from cloud.reports.report import Story
from cloud.runs.run import Run
from cloud.runs.step_records import Evaluation, ModelScores, PretrainingRecord
from cloud.tracking import Registered, registered_of
from cloudedge.documents import ContributionRecord, FusionRecord, Scores, Trained, TrainingTask
from cloudedge.errors import InvalidInput, NotFound

EVERYTHING = "all"
"""Name that evaluation gives to all test data together."""


@dataclass(frozen=True)
class Turn:
    """What an edge brought in one round."""

    round: int
    trained_in: int
    """Round of the order; an earlier one if the model came late."""
    accuracy: float | None
    """Of its model on its own held-out samples; none: it has none."""
    before: float | None
    """Of the model that it began from, on the same samples."""
    weight: float
    trained: Trained | None
    """What training came to; none: its manifest was cleared away."""


@dataclass(frozen=True)
class EdgeStory:
    """One edge through all rounds."""

    name: str
    turns: tuple[Turn, ...]
    absences: tuple[tuple[int, str], ...]
    """Rounds fused without it, and why."""
    judged: dict[str, Scores]
    """Scores of the models 'pretrained' and 'fused' on its held-out samples, by the regression gate."""
    unjudged: str
    """Why the regression gate has none of it; empty if it has, or did not ask."""

    @property
    def alone(self) -> float | None:
        """Accuracy that it reaches alone, on its held-out samples: of its own model of round 1; none if it came later."""
        return self.turns[0].accuracy if self.turns and self.turns[0].trained_in == 1 else None


@dataclass(frozen=True)
class Findings:
    """A run as far as it has come."""

    story: Story
    task: TrainingTask
    pretraining: PretrainingRecord | None
    fusions: tuple[FusionRecord, ...]
    evaluation: Evaluation | None
    edges: tuple[EdgeStory, ...]
    """The edges shown: all, or those with the lowest accuracy."""
    edges_in_all: int
    registered: Registered | None
    """The model's version in MLflow's registry, as far as this run was told of one."""

    def environments(self) -> list[str]:
        """Test sets as they are drawn: everything first, then each, or those that the final model does worst on."""
        final = self.by_round()[-1:]
        if not final:
            return []
        scores = final[0].scores
        others = sorted((name for name in scores if name != EVERYTHING), key=natural)
        if len(others) == 1:
            return [EVERYTHING]
        if len(others) > MOST_ENVIRONMENTS:
            kept = set(sorted(others, key=lambda name: scores[name].accuracy)[:MOST_ENVIRONMENTS])
            others = [name for name in others if name in kept]
        return [EVERYTHING, *others]

    def environments_hidden(self) -> int:
        """Number of environments that are not shown."""
        final = self.by_round()[-1:]
        shown = len(self.environments())
        return len(final[0].scores) - shown if shown > 1 else 0

    def by_round(self) -> list[ModelScores]:
        """The pretrained model and the fused ones on the test data, ordered by round."""
        models = self.evaluation.models if self.evaluation else ()
        return sorted((model for model in models if model.round is not None), key=lambda model: model.round or 0)

    def by_edge(self) -> list[ModelScores]:
        """Each edge's first model on the test data."""
        models = self.evaluation.firsts() if self.evaluation else ()
        return sorted(models, key=lambda model: natural(model.name))

    def alone(self) -> list[ModelScores]:
        """Those of them that knew nothing of what other edges learned."""
        return [model for model in self.by_edge() if model.trained_in == 1]

    def fused_at_edges(self) -> list[tuple[int, float]]:
        """Rounds, and the accuracy that the model after that round has on the edges' held-out samples; round 0: pretrained."""
        points = [(record.round - 1, record.base_accuracy) for record in self.fusions if record.base_accuracy is not None]
        if self.evaluation and self.evaluation.gate and self.evaluation.gate.fused is not None:
            points.append((self.evaluation.rounds, self.evaluation.gate.fused))
        return points


def gather(run: Run) -> Findings:
    """Read a run.

    Raises:
        NotFound: there is no such run.
        StoreFailed: the store does not do its work.
    """
    task = run.task_for(TrainingTask)
    fusions = tuple(record for number in range(1, run.rounds_fused() + 1) if (record := run.fusion(number)))
    evaluation = run.evaluation()
    names = {c.edge for record in fusions for c in record.contributions}
    names |= {left_out.edge for record in fusions for left_out in record.left_out}
    return Findings(
        story=Story.of(run),
        task=task,
        pretraining=run.pretraining(),
        fusions=fusions,
        evaluation=evaluation,
        edges=_stories(run, fusions, evaluation, _shown(names, fusions)),
        edges_in_all=len(names),
        registered=registered_of(run.store, run.id),
    )


def _shown(names: set[str], fusions: tuple[FusionRecord, ...]) -> list[str]:
    # One that measures nothing has no low accuracy to show.
    accuracy = {c.edge: 1.0 if c.accuracy is None else c.accuracy for record in fusions for c in record.contributions}
    by_name = sorted(names, key=natural)
    if len(by_name) <= MOST_EDGES:
        return by_name
    return sorted(by_name, key=lambda name: accuracy.get(name, -1.0))[:MOST_EDGES]


def _stories(
    run: Run, fusions: tuple[FusionRecord, ...], evaluation: Evaluation | None, names: list[str]
) -> tuple[EdgeStory, ...]:
    turns: dict[str, list[Turn]] = {name: [] for name in names}
    absences: dict[str, list[tuple[int, str]]] = {name: [] for name in names}
    for record in fusions:
        for c in record.contributions:
            if c.edge in turns:
                trained = _trained(run, c)
                base = trained.scores.get("base") if trained else None
                before = base.measured if base else None
                turns[c.edge].append(Turn(record.round, c.round, c.accuracy, before, c.weight, trained))
        for left_out in record.left_out:
            if left_out.edge in absences:
                absences[left_out.edge].append((record.round, left_out.reason))
    gate = evaluation.gate if evaluation else None
    judged = gate.edges if gate else {}
    unjudged = {one.edge: one.reason for one in gate.left_out} if gate else {}
    return tuple(
        EdgeStory(name, tuple(turns[name]), tuple(absences[name]), judged.get(name, {}), unjudged.get(name, ""))
        for name in names
    )


def _trained(run: Run, contribution: ContributionRecord) -> Trained | None:
    try:
        result = run.manifest(contribution).result
        return result if isinstance(result, Trained) else None
    except (NotFound, InvalidInput):
        return None  # Cleared away since it was fused; the page does without its details.
