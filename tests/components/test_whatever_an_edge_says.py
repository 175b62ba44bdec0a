"""An edge may say what it likes: either that edge is left out of it and named, or everything goes on as with any other's words.

The documents bound what can be said, so what this checks is that the bounds are those of all who take edges' words further.
"""

import io
import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric, _validate_param, _validate_tag
from pydantic import ValidationError
from rich.console import Console

from cloud.fusion.files import Contribution, FusionOutcome
from cloud.fusion.rule import Averaging, Candidates, find_rule
from cloud.inboxes import DirectoryInboxes
from cloud.orders.figures import Figures
from cloud.orders.wait import _record, _shortage
from cloud.orders.watch import OrderWatch
from cloud.runs.events import events
from cloud.runs.run import Run
from cloud.runs.step_records import Delivery, DispatchRecord, Evaluation, IssuedOrder, RunState, WaitRecord
from cloud.settings import Settings
from cloud.step import Step
from cloud.tracking import Ancestor, TrackingLog
from cloud.tracking.runs import _milliseconds, news_of
from cloudedge.documents import (
    Collaboration,
    Evaluated,
    FusionRecord,
    Manifest,
    OutputFile,
    Phase,
    Point,
    Report,
    Result,
    Stream,
    Trained,
    parse,
)
from cloudedge.documents.report import MOST_COUNT, MOST_POINTS, MOST_SECONDS, points_of
from cloudedge.errors import InvalidModel, QuorumMissed
from cloudedge.store import DirectoryStore
from components.collaborative_training.description import description
from components.collaborative_training.figures import training_figures
from components.collaborative_training.fuse.step import _claims, fuse_round
from components.collaborative_training.fuse.step import _record as fusion_record
from components.collaborative_training.page.edges import edge_table
from components.collaborative_training.page.findings import EdgeStory, Findings, Turn, gather
from components.collaborative_training.page.sections import report_of
from components.collaborative_training.steps import STEPS
from components.evaluate.step import _judged
from components.wait.page import page
from pipelines.commands.edges import _shown
from pipelines.display.live import edge_table as live_edge_table
from tests.components.cloud import Cloud, epochs, scores
from tests.components.collaborative_training.page.run_builder import RunBuilder, digest
from tests.digits import EDGES, digits_task
from tests.strategies import JSON_VALUES, documents

ISSUED = datetime(2026, 1, 1, tzinfo=UTC)
ORDERS = [IssuedOrder(id=f"digits.1.{edge}.1", edge=edge, step="1", attempt=1, issued_at=ISSUED) for edge in EDGES]
HONEST, TALKER = ORDERS[0], ORDERS[2]
TASK = digits_task()

ODD_NUMBERS = [2**70, -(2**70), 10**400, 1e20, 1e308, -1, -0.5, 1.5, "NaN", "Infinity", "-Infinity", math.nan, math.inf, True]
ODD_TEXTS = [
    "",
    "\x1b[2J\x1b]0;owned\x07",
    "\u202eevil",
    "\ud800",
    "<script>alert(1)</script>",
    "a" * 5_000,
    "0001-01-01T00:00:00+14:00",
]
LOSSES = st.sampled_from([math.nan, math.inf, -math.inf, 1.8e308, -1.8e308, 5e-324, 0.0])

enough = settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> DirectoryStore:
    return DirectoryStore(tmp_path_factory.mktemp("words"))


GoesOn = Callable[[OrderWatch], None]


@pytest.fixture(scope="module")
def goes_on(store: DirectoryStore, tmp_path_factory: pytest.TempPathFactory) -> GoesOn:
    """Everything that is done with what edges say."""
    found = gather(RunBuilder(tmp_path_factory.mktemp("built"), rounds=2).build())
    return lambda watch: do_everything(store, found, watch)


def honest_report(order: IssuedOrder, **said: Any) -> Report:
    fields = {"order": order.id, "edge": order.edge, "sequence": 1, "phase": Phase.TRAINING, "heartbeat_at": ISSUED}
    streams = [Stream(name="epochs", done=2, total=5, unit="epochs"), Stream(name="batches", done=3, unit="batches")]
    told = {"progress": streams, "gauges": {"samples": 12}, "points": points_of(epochs([0.1, 0.2]))}
    return Report.model_validate({**fields, **told, **said})


def honest_manifest(order: IssuedOrder, result: Result) -> Manifest:
    outputs = {"model": OutputFile(sha256=digest(order.id), size=10)} if isinstance(result, Trained) else {}
    return Manifest(
        order=order.id, edge=order.edge, outputs=outputs, points=2, history=points_of(HISTORY), result=result, seconds=1.0
    )


def honest_training(**said: Any) -> Trained:
    fields: dict[str, Any] = {
        **{"base_sha256": digest("base"), "data_fingerprint": digest("data")},
        **{"samples": 12, "label_histogram": {"0": 12}, "epochs": 1},
        "scores": {"base": scores(0.4), "model": scores(0.8)},
    }
    return Trained.model_validate({**fields, **said})


HISTORY = epochs([0.4, 0.8])

MEASURED = Evaluated(data_fingerprint=digest("data"), scores={"pretrained": scores(0.4), "fused": scores(0.8)})
"""What an honest edge says when it was asked to measure."""


@st.composite
def talks(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A report and a manifest of the edge as it may have written them: what an honest one says, with some of it replaced."""
    written = []
    result = draw(st.sampled_from([honest_training(), MEASURED]))
    for document in (honest_report(TALKER), honest_manifest(TALKER, result)):
        value = json.loads(document.to_json())
        for _ in range(draw(st.integers(0, 3))):
            odd = draw(st.sampled_from([*ODD_NUMBERS, *ODD_TEXTS]) | JSON_VALUES)
            draw(st.sampled_from(list(_replacements(value))))(odd)
        written.append(json.dumps(value).encode())
    return written[0], written[1]


def _replacements(value: Any) -> Iterator[Callable[[Any], None]]:
    """What puts something in the place of each part of a JSON value; and in one of a name."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield lambda odd, key=key: value.__setitem__(key, odd)  # type: ignore[misc]
            yield lambda odd, key=key: value.__setitem__(str(odd), value.pop(key, None))  # type: ignore[misc]
            yield from _replacements(inner)
    if isinstance(value, list):
        for index, inner in enumerate(value):
            yield lambda odd, index=index: value.__setitem__(index, odd)  # type: ignore[misc]
            yield from _replacements(inner)


def watched_round(store: DirectoryStore, report: bytes, manifest: bytes) -> OrderWatch:
    """A round with an honest edge, a silent one and the talker, as whoever waits sees it."""
    run = Run(store, "digits")
    run.put(run.step_key("1", "dispatch.json"), DispatchRecord(edges=EDGES, orders=tuple(ORDERS)))
    for order, said, done in (
        (HONEST, honest_report(HONEST).to_json(), honest_manifest(HONEST, honest_training()).to_json()),
        (TALKER, report, manifest),
    ):
        store.put(run.report_key(order), said)
        store.put(run.manifest_key(order), done)
    return OrderWatch.of(run, "1")


def step_at(store: DirectoryStore) -> Step:
    folder = store.root / "places"
    places = Settings(store=store.root.as_uri(), inboxes=folder.as_uri(), scratch=folder)
    return Step("wait-1", places, store, DirectoryInboxes(folder), Run(store, "digits"))


def do_everything(store: DirectoryStore, found: Findings, watch: OrderWatch) -> None:
    watch.look(everywhere=True)
    assert HONEST.edge in watch.delivered
    talker = watch.edges[TALKER.edge]
    shown = [_is_waited_for(watch), _is_relayed(store, watch), _is_drawn(watch)]
    if talker.manifest:
        shown += [_is_fused(store, talker.manifest), _is_evaluated(watch), _is_told_of(found, talker.manifest)]
    for text in shown:
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", text)
        assert "<script>" not in text


def _is_waited_for(watch: OrderWatch) -> str:
    record = _record(watch, 1.0)
    parse(WaitRecord, record.model_dump_json(), "wait.json")
    told = _shortage("Round 1", 3, record, {TALKER.edge}, timed_out=True)
    RunState(state="failed", message=told, at=ISSUED)
    return page(watch, record, STEPS.figures) + escape(told)


def _is_relayed(store: DirectoryStore, watch: OrderWatch) -> str:
    """In two goes, as a report and then a manifest are: MLflow takes each record."""
    log = TrackingLog(store, "digits")
    for figures in (training_figures(step_at(store), Collaboration(), 1), Figures(step_at(store), "1")):
        figures.keep(replace(one, manifest=None) for one in watch.edges.values())
        figures.keep(watch.edges.values())
    records = [record for name, _ in log.versions() for record in log.read(name).records]
    for news in news_of(records).values():
        _milliseconds(news.began)
        for point in news.metrics:
            _validate_metric(point.key, point.value, _milliseconds(point.at), point.step)  # type: ignore[no-untyped-call]
        for key, value in news.params.items():
            _validate_param(key, value)  # type: ignore[no-untyped-call]
        for key, value in news.tags.items():
            _validate_tag(key, value)  # type: ignore[no-untyped-call]
    return ""


def _is_drawn(watch: OrderWatch) -> str:
    console = Console(file=io.StringIO(), width=150)
    console.print(live_edge_table(watch, STEPS.figures))
    shown = [_shown(one.report.heartbeat_at) for one in watch.edges.values() if one.report]
    assert isinstance(console.file, io.StringIO)
    return escape("".join([console.file.getvalue(), *shown]))


def _is_fused(store: DirectoryStore, manifest: Manifest) -> str:
    try:
        file, trained, measured = _claims(manifest, TASK)
    except InvalidModel as refusal:
        return escape(str(refusal))
    results = [honest_training(), trained]
    deliveries = [Delivery(edge=order.edge, step=order.step, attempt=order.attempt) for order in (HONEST, TALKER)]
    contributions = [
        Contribution(HONEST.edge, Path("a"), 12, 0.8, 1, digest("a")),
        Contribution(TALKER.edge, Path("b"), trained.samples, measured.measured, 1, file.sha256),
    ]
    for name in ("samples", "uniform", "accuracy"):
        rule, setting = find_rule(name, {})
        assert isinstance(rule, Averaging)
        weights = rule.weights(cast(Candidates, SimpleNamespace(contributions=contributions)), setting)
        assert all(math.isfinite(weight) and weight >= 0 for weight in weights)
        assert sum(weights) > 0
        outcome = FusionOutcome(0.0, tuple(weights), digest("fused"), 10, 1.0, 30, ())
        record = fusion_record(step_at(store), TASK, 1, digest("base"), outcome, contributions, deliveries, results, [])
        parse(FusionRecord, record.model_dump_json(), "fusion.json")
        assert record.base_accuracy is None or 0 <= record.base_accuracy <= 1 + 1e-9
    return ""


def _is_evaluated(watch: OrderWatch) -> str:
    answered = replace(watch.edges[HONEST.edge], manifest=honest_manifest(HONEST, MEASURED))
    gate = _judged(sorted({**watch.edges, HONEST.edge: answered}.items()))
    assert HONEST.edge in gate.edges
    evaluation = Evaluation(rounds=1, sha256=digest("fused"), size=10, gate=gate)
    parse(Evaluation, evaluation.model_dump_json(), "evaluation.json")
    assert gate.fused is None or 0 <= gate.fused <= 1 + 1e-9
    ancestor = Ancestor(role="edge", edge=TALKER.edge, round=1, sha256=digest("a"), weight=0.5, samples=MOST_COUNT)
    return escape(description("digits", TASK, evaluation, [ancestor]) + "".join(one.reason for one in gate.left_out))


def _is_told_of(found: Findings, manifest: Manifest) -> str:
    trained = manifest.result if isinstance(manifest.result, Trained) else None
    model, base = (trained.scores.get(name) if trained else None for name in ("model", "base"))
    turn = Turn(1, 1, model.measured if model else None, base.measured if base else None, 0.5, trained)
    story = EdgeStory(TALKER.edge, (turn, replace(turn, round=2)), ((2, "gone"),), {}, "it has no held-out sample")
    told = replace(found, edges=(story,))
    return edge_table(told) + escape(report_of(told).note())


@enough
@given(talks())
def test_any_words_of_an_edge_leave_it_out_or_let_all_go_on(
    store: DirectoryStore, goes_on: GoesOn, words: tuple[bytes, bytes]
) -> None:
    goes_on(watched_round(store, *words))


def with_values(points: tuple[Point, ...], value: float) -> tuple[Point, ...]:
    names = ("accuracy", "recall", "loss", "train_loss")
    return tuple(point.model_copy(update={"values": dict.fromkeys([*names, *point.values], value)}) for point in points)


def with_names(result: Result) -> Result:
    """The same with the names that whoever reads it looks for."""
    if not isinstance(result, Trained | Evaluated):
        return result  # Of another system: whatever it says, it is no such result.
    names = ("model", "base") if isinstance(result, Trained) else ("pretrained", "fused")
    return result.model_copy(update={"scores": dict(zip(names, result.scores.values(), strict=False))})


FURTHEST = tuple(
    Point(sequence=MOST_COUNT - MOST_POINTS + number, seconds=MOST_SECONDS, values={"accuracy": 1, "loss": math.inf})
    for number in range(1, MOST_POINTS + 1)
)


@enough
@given(documents(Report), documents(Manifest), LOSSES)
def test_whatever_can_be_said_within_the_bounds_lets_all_go_on(
    store: DirectoryStore, goes_on: GoesOn, report: Report, manifest: Manifest, loss: float
) -> None:
    of_order = {"order": TALKER.id, "edge": TALKER.edge}
    gauges = dict.fromkeys(["samples", "loss", *report.gauges], loss)
    report = report.model_copy(update={**of_order, "points": with_values(report.points, loss), "gauges": gauges})
    outputs = dict(zip(("model", "history"), manifest.outputs.values(), strict=False))
    said = {"outputs": outputs, "history": with_values(manifest.history, loss), "result": with_names(manifest.result)}
    manifest = manifest.model_copy(update={**of_order, **said})

    assert_both_are_believed_and_all_goes_on(store, goes_on, report, manifest)


def test_the_longest_history_at_the_largest_numbers_lets_all_go_on(store: DirectoryStore, goes_on: GoesOn) -> None:
    furthest = [Stream(name="epochs", done=MOST_COUNT, total=MOST_COUNT, unit="epochs")] * 8
    report = honest_report(TALKER, points=FURTHEST, progress=furthest, gauges={"samples": MOST_COUNT})
    trained = honest_training(epochs=MOST_COUNT, samples=MOST_COUNT, label_histogram={"0": MOST_COUNT})
    manifest = honest_manifest(TALKER, trained).model_copy(update={"points": MOST_COUNT, "history": FURTHEST})

    assert_both_are_believed_and_all_goes_on(store, goes_on, report, manifest)


def assert_both_are_believed_and_all_goes_on(
    store: DirectoryStore, goes_on: GoesOn, report: Report, manifest: Manifest
) -> None:
    watch = watched_round(store, report.to_json(), manifest.to_json())
    goes_on(watch)

    assert watch.edges[TALKER.edge].manifest is not None
    assert watch.edges[TALKER.edge].report is not None


SIZED = [
    (kind, name)
    for kind in (Report, Manifest, Trained, Evaluated)
    for name, field in kind.model_json_schema()["properties"].items()
    if field.get("type") in ("array", "object")
]


@pytest.mark.parametrize(("kind", "name"), SIZED, ids=lambda value: getattr(value, "__name__", value))
def test_a_document_full_of_faults_has_few(kind: type[Report | Manifest | Result], name: str) -> None:
    """Each fault costs a kilobyte, and a document has room for millions of them."""
    entries: list[dict[str, Any]] = [{}] * 200_000
    of_lists = name in ("history", "points", "progress")
    with pytest.raises(ValidationError) as refused:
        kind.model_validate({name: entries if of_lists else {str(at): one for at, one in enumerate(entries)}})
    assert refused.value.error_count() < 20


def a_point(**said: Any) -> list[dict[str, Any]]:
    return [{**points_of(epochs([0.1]))[0].model_dump(mode="json"), **said}]


BEYOND = [
    pytest.param(a_point(seconds=1e20), "0.seconds: found 1e+20; give 20000000.0 or less", id="1e20 seconds"),
    pytest.param(a_point(seconds=math.inf), "0.seconds: found inf; give 20000000.0 or less", id="infinity"),
    pytest.param(a_point(sequence=2**70), f"0.sequence: found {2**70}; give {MOST_COUNT} or less", id="sequence 2**70"),
    pytest.param(a_point(values={str(name): 1 for name in range(65)}), "give at most 64", id="too many values"),
    pytest.param(a_point() * 2, "the point 0 stands behind the point 0; give each once, in order", id="one point twice"),
    pytest.param(a_point() * (MOST_POINTS + 1), "give at most 10000", id="too many points"),
]
"""What each was once believed, and then broke the step for everybody."""


@pytest.mark.parametrize(("points", "fault"), BEYOND)
def test_a_report_beyond_the_bounds_is_not_believed_and_its_edges_result_counts(
    cloud: Cloud, points: list[dict[str, Any]], fault: str
) -> None:
    cloud.pretrained().dispatched()
    (order,) = cloud.orders(TALKER.edge)
    report = honest_report(TALKER).model_dump(mode="json") | {"points": points}
    cloud.store.put(cloud.run.report_key(order), json.dumps(report).encode())
    for edge in EDGES:
        cloud.deliver(edge)

    assert cloud.waited() == 3
    assert fault in told(cloud, "misreported")[TALKER.edge]


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        pytest.param({"recollections": -1}, "recollections: found -1; give 0 or more", id="a negative count"),
        pytest.param({"scores": {"base": {"samples": 10**400}}}, "scores.base.samples: found 1000", id="10**400 samples"),
        pytest.param(
            {"label_histogram": {"0": 13, "1": -1}}, "label_histogram.1: found -1; give 0 or more", id="a negative class"
        ),
        pytest.param({"label_histogram": {"\x1b[2J": 12}}, "counts samples of '\\x1b[2J', which is no class", id="no class"),
    ],
)
def test_a_manifest_beyond_the_bounds_leaves_its_edge_out_and_is_asked_for_anew_where_it_is_needed(
    cloud: Cloud, said: dict[str, Any], fault: str
) -> None:
    cloud.pretrained(quorum=3).dispatched()

    def deliver(*edges: str) -> None:
        for edge in edges:
            cloud.deliver(edge)

    deliver(*EDGES)
    (order,) = cloud.orders(TALKER.edge)
    key = cloud.run.manifest_key(order)
    honest = json.loads(cloud.store.get(key, 1 << 22))
    cloud.store.put(key, json.dumps(honest | {"result": honest["result"] | said}).encode())

    with pytest.raises(QuorumMissed, match=TALKER.edge):
        all_that_follows(cloud)
    assert fault in told(cloud, "left-out")[TALKER.edge]

    cloud.dispatched()
    assert [len(cloud.orders(edge)) for edge in EDGES] == [0, 0, 1]
    deliver(TALKER.edge)
    assert cloud.waited() == 3
    record = fuse_round(cloud.task.id, 1)
    assert record is not None
    assert [one.edge for one in record.contributions] == list(EDGES)


def all_that_follows(cloud: Cloud) -> None:
    cloud.waited()
    fuse_round(cloud.task.id, 1)


def told(cloud: Cloud, action: str) -> dict[str, str]:
    return {e.details["edge"]: e.details["reason"] for _, e in events(cloud.store, cloud.run.id) if e.action == action}
