"""What a run of collaborative training measured, as DataFrames."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cloud.pages.words import natural
from cloud.runs.run import Run
from cloudedge.documents import ContributionRecord, History, Point, parse
from cloudedge.documents.report import MAX_HISTORY_BYTES, points_of
from cloudedge.errors import InvalidInput, NotFound
from components.collaborative_training.page.findings import EVERYTHING, Findings, gather
from pipelines.frames import ON_EDGES, Frames

if TYPE_CHECKING:
    import pandas


class TrainingFrames(Frames):
    """Those of collaborative training."""

    def accuracy(self, run: Run) -> "pandas.DataFrame":
        """See `Frames.accuracy`."""
        import pandas

        found = gather(run)
        gate = found.evaluation.gate if found.evaluation else None
        rows: dict[str, dict[str, float | None]] = {}
        if gate:
            alone = [story.alone for story in found.edges if story.alone is not None]
            rows[ON_EDGES] = {"pretrained": gate.pretrained, "best edge alone": max(alone, default=None), "fused": gate.fused}
        models, own = found.by_round(), found.alone()
        names = sorted(models[-1].scores if models else (), key=lambda name: (name != EVERYTHING, natural(name)))
        for name in names:
            best = max((model.scores[name].accuracy for model in own), default=None)
            fused = models[-1].scores[name].accuracy if len(models) > 1 else None
            rows[name] = {"pretrained": models[0].scores[name].accuracy, "best edge alone": best, "fused": fused}
        columns = ["pretrained", "best edge alone", "fused"]
        return pandas.DataFrame.from_dict(rows, orient="index", columns=columns, dtype=float).rename_axis("environment")

    def rounds(self, run: Run) -> "pandas.DataFrame":
        """See `Frames.rounds`."""
        import pandas

        found = gather(run)
        on_edges, tests = dict(found.fused_at_edges()), {model.round: model for model in found.by_round()}
        rows: list[dict[str, Any]] = []
        records = {record.round: record for record in found.fusions}
        for number in sorted({*records, *on_edges, *(number for number in tests if number is not None)}):
            record, scores = records.get(number), tests[number].scores if number in tests else {}
            rows.append(
                {
                    "round": number,
                    "accuracy on edges": on_edges.get(number),
                    **{f"accuracy, {name}": score.accuracy for name, score in scores.items()},
                    "models": len(record.contributions) if record else None,
                    "left out": len(record.left_out) if record else None,
                    "sha256": record.sha256 if record else found.pretraining.sha256 if found.pretraining else None,
                }
            )
        return pandas.DataFrame(rows, columns=None if rows else ["round"]).set_index("round")

    def edges(self, run: Run) -> "pandas.DataFrame":
        """See `Frames.edges`."""
        import pandas

        found = gather(run)
        rows = [
            {
                "edge": story.name,
                "round": turn.round,
                "samples": turn.trained.samples if turn.trained else None,
                "epochs": turn.trained.epochs if turn.trained else None,
                "accuracy before": turn.before,
                "accuracy after": turn.accuracy,
                "weight": turn.weight,
                "late": turn.trained_in < turn.round,
                "left out": "",
            }
            for story in found.edges
            for turn in story.turns
        ]
        rows += [
            {"edge": story.name, "round": number, "left out": reason}
            for story in found.edges
            for number, reason in story.absences
        ]
        return _indexed(pandas.DataFrame(rows, columns=None if rows else ["edge", "round"]), ["edge", "round"])

    def epochs(self, run: Run) -> "pandas.DataFrame":
        """See `Frames.epochs`."""
        import pandas

        found = gather(run)
        rows = [
            {"edge": edge, "round": number, "epoch": point.sequence, **point.values, "seconds": point.seconds}
            for edge, number, points in _histories(run, found)
            for point in points
        ]
        return _indexed(
            pandas.DataFrame(rows, columns=None if rows else ["edge", "round", "epoch"]), ["edge", "round", "epoch"]
        )

    def confusion(self, run: Run) -> "pandas.DataFrame":
        """See `Frames.confusion`."""
        import pandas

        found = gather(run)
        if found.evaluation is None or not found.evaluation.confusion:
            raise NotFound(f"The run {run.id!r} has no confusion matrix: it is made of test data, once the run is evaluated.")
        names = list(found.task.data.classes)
        frame = pandas.DataFrame(found.evaluation.confusion, index=names, columns=names)
        return frame.rename_axis(index="true", columns="predicted")


def _histories(run: Run, found: Findings) -> Iterator[tuple[str, int, tuple[Point, ...]]]:
    if found.pretraining:
        yield "cloud", 0, points_of(found.pretraining.history)
    for record in found.fusions:
        for one in record.contributions:
            yield one.edge, record.round, _history(run, one)


def _history(run: Run, contribution: ContributionRecord) -> tuple[Point, ...]:
    """What was measured at an edge in a round; nothing where its history is gone or unsound."""
    try:
        content = run.output(contribution, "history", MAX_HISTORY_BYTES)
        return parse(History, content, "history", MAX_HISTORY_BYTES).points
    except (InvalidInput, NotFound):
        return ()


def _indexed(frame: "pandas.DataFrame", names: list[str]) -> "pandas.DataFrame":
    return frame.set_index(names).sort_index()
