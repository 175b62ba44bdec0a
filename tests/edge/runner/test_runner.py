"""What a user sees of a runner: orders go in, results come out."""

import json
import os
import shutil
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from cloud.orders.watch import Watched, _take
from cloud.runs.step_records import IssuedOrder
from cloudedge.documents import Inbox, ModelSpec, Order, Phase, Recollection, RemoteFile, Training
from cloudedge.mount import write_mount
from cloudedge.names import sha256_of
from edge.clock import now
from edge.folders import Folders
from edge.runner.ledger import Entry, Ledger
from edge.runner.runner import main
from tests.edge.site import TRAINING, Site, write_samples
from tests.waiting import until

LONG = Training(epochs=5000, batch_size=8, learning_rate=0.01)


def test_an_order_to_train_ends_with_a_model_a_manifest_and_a_last_report(site: Site) -> None:
    order = site.order()
    site.want(order)
    with site.running():
        report = site.finish(order)
    assert site.manifest(order).outputs["model"].sha256 == site.model_digest(order)
    trained = site.trained(order)
    assert trained.base_sha256 == order.inputs["base"].sha256
    assert trained.samples == report.samples == 30
    assert sum(trained.label_histogram.values()) == 30
    assert trained.scores["model"].samples == 10
    assert trained.epochs == TRAINING.epochs
    history = site.history(order)
    for name, point in (("base", history[0]), ("model", history[-1])):
        scores = trained.scores[name]
        measured = {"accuracy": scores.accuracy, "recall": scores.recall, "loss": scores.loss}
        assert {key: point.values[key] for key in measured} == measured
    assert [point.sequence for point in history] == list(range(TRAINING.epochs + 1))
    assert report.points == history
    assert report.words() == "done, 3 of 3 epochs"


def test_an_order_to_evaluate_scores_each_input_and_sends_no_model(site: Site) -> None:
    trained = site.order(1)
    site.want(trained)
    with site.running():
        site.finish(trained)
        path = site.cloud / trained.id / "model.safetensors"
        edge = RemoteFile(url=path.as_uri(), sha256=site.model_digest(trained), size=path.stat().st_size)
        order = site.order(2, "evaluate", inputs={"base": site.base(), "fused": edge})
        site.want(order)
        assert site.finish(order).samples == 30  # Known since the order before.
    manifest = site.manifest(order)
    assert manifest.outputs == {}
    assert site.evaluated(order).scores == {
        "base": site.trained(trained).scores["base"],
        "fused": site.trained(trained).scores["model"],
    }
    assert not (site.cloud / order.id / "model.safetensors").exists()


def test_an_edge_with_too_few_samples_to_hold_one_out_trains_and_answers_that_it_measured_on_none(site: Site) -> None:
    lines = [json.dumps({"x": [value, 0, 0, 0], "label": label}) for value, label in ((-1, "low"), (1, "high"))]
    (site.samples / "first.jsonl").write_text("\n".join(lines))
    trained, order = site.order(1), site.order(2, "evaluate")
    site.want(trained)
    with site.running():
        site.finish(trained)
        site.want(order)
        site.finish(order)
    assert site.trained(trained).samples == 2
    assert {name: scores.measured for name, scores in site.trained(trained).scores.items()} == {"base": None, "model": None}
    assert {name: scores.samples for name, scores in site.evaluated(order).scores.items()} == {"base": 0}


def test_the_received_and_the_trained_model_are_kept_in_their_folders(site: Site) -> None:
    order = site.order()
    site.want(order)
    with site.running():
        site.finish(order)
        assert (site.state / "received" / order.id / "model.safetensors").read_bytes() == site.cloud.joinpath(
            "base.safetensors"
        ).read_bytes()
        assert (site.state / "trained" / order.id / "model.safetensors").exists()


def test_an_order_that_was_done_is_never_done_again(site: Site) -> None:
    first, second = site.order(1), site.order(2)
    site.want(first)
    with site.running():
        site.finish(first)
        before = (site.cloud / first.id / "manifest.json").stat().st_mtime_ns
        site.want(first, second)
        site.finish(second)
    with site.running():
        third = site.order(3)
        site.want(first, second, third)
        site.finish(third)
    assert (site.cloud / first.id / "manifest.json").stat().st_mtime_ns == before


def test_an_order_that_the_cloud_has_lost_and_issues_again_is_done_anew(site: Site) -> None:
    order, other = site.order(1), site.order(2)
    site.want(order)
    with site.running():
        site.finish(order)
        digest = site.model_digest(order)

        shutil.rmtree(site.cloud)
        again = site.order(1, inputs={"base": site.base()})
        site.want(again)
        site.finish(again)
        assert site.model_digest(again) == digest

        # What was asked before comes again, and is not done again.
        shutil.rmtree(site.cloud)
        site.base()
        site.want(order, other)
        site.finish(other)
    assert site.report(order) is None


def test_training_that_diverges_fails_its_order_by_that_name(site: Site) -> None:
    order = site.order(training=Training(epochs=30, batch_size=8, learning_rate=100.0, optimizer="sgd", loss="mse"))
    site.want(order)
    with site.running():
        report = site.finish(order, Phase.FAILED)
    assert report.error is not None
    assert report.error.kind == "Diverged"


def test_a_runner_that_lost_its_state_is_heard_by_whoever_waits(site: Site) -> None:
    order = site.order(training=LONG)
    issued = IssuedOrder(id=order.id, edge=order.edge, step=order.step, attempt=order.attempt, issued_at=order.issued_at)
    waited_for = Watched(issued)
    site.want(order)
    with site.running():
        until(lambda: site.epochs(order) > 3)
    before = site.report(order)
    assert before is not None
    _take(waited_for, before, reported=True)
    until(lambda: not site.work(), what="the end of the work")  # It would write on.
    shutil.rmtree(site.state)
    shutil.rmtree(site.samples)
    site.samples.mkdir()

    with site.running():
        until(lambda: site.phase(order) is Phase.FAILED)
    after = site.report(order)
    assert after is not None
    _take(waited_for, after, reported=True)

    assert after.sequence < before.sequence + (1 << 32)
    assert waited_for.failed
    assert "no samples to train on" in waited_for.state()


def test_an_order_that_is_done_anew_uses_the_samples_that_came_since(site: Site) -> None:
    order = site.order()
    site.want(order)
    with site.running():
        assert site.finish(order).samples == 30
        write_samples(site.samples / "more.jsonl", seed=1)
        shutil.rmtree(site.cloud)
        again = site.order()
        site.want(again)
        assert site.finish(again).samples == 60


def test_an_order_issued_again_while_it_is_at_work_goes_on_where_it_is(site: Site) -> None:
    order = site.order(training=LONG)
    site.want(order)
    with site.running():
        until(lambda: site.epochs(order) > 50)
        site.cloud.rename(site.root / "lost")  # At once: reports are written beside it.
        site.want(order.model_copy(update={"issued_at": datetime.now(UTC)}))
        until(lambda: site.epochs(order) > 0)
        assert site.epochs(order) > 50


def test_orders_are_done_in_the_order_of_their_acceptance(site: Site) -> None:
    orders = [site.order(number) for number in (3, 1, 2)]
    site.want(*orders)
    with site.running():
        for order in orders:
            site.finish(order)
    times = [(site.cloud / order.id / "manifest.json").stat().st_mtime_ns for order in orders]
    assert times == sorted(times)


def test_a_cancelled_order_stops_in_the_middle_of_training(site: Site) -> None:
    order = site.order(training=LONG)
    site.want(order)
    with site.running():
        until(lambda: site.epochs(order) > 0)
        site.want(order.model_copy(update={"state": "cancelled"}))
        report = site.finish(order, Phase.CANCELLED)
        until(lambda: not site.work(), what="the end of the work")
    assert 0 < report.points[-1].sequence < LONG.epochs
    assert not (site.cloud / order.id / "manifest.json").exists()


def test_an_order_that_the_cloud_lists_no_more_stops_and_the_next_begins(site: Site) -> None:
    dropped, wanted = site.order(1, training=LONG), site.order(2)
    site.want(dropped)
    with site.running():
        until(lambda: site.epochs(dropped) > 0)
        site.want(wanted)
        site.finish(wanted)
        first, _ = Ledger(Folders(site.state).ledger).entries(latest=2)
        assert first.phase is Phase.CANCELLED
    assert not (site.cloud / dropped.id / "manifest.json").exists()


def test_an_order_that_arrives_cancelled_is_answered_and_never_begun(site: Site) -> None:
    order = site.order(state="cancelled")
    site.want(order)
    with site.running():
        report = site.finish(order, Phase.CANCELLED)
    assert report.points == ()


def test_an_older_generation_never_cancels_work(site: Site) -> None:
    order = site.order()
    site.want(order, generation=5)
    with site.running() as runner:
        until(lambda: site.report(order))
        site.want(generation=4)
        site.finish(order)
        until(lambda: "generation 4, older than 5, is ignored" in runner.text())


def test_an_empty_mount_from_the_start_is_no_information(site: Site) -> None:
    order = site.order(training=LONG)
    site.want(order)
    with site.running():
        until(lambda: site.epochs(order) > 0)
    for path in site.inbox.iterdir():
        path.rename(site.root / path.name)
    with site.running() as runner:
        epoch = site.epochs(order)
        until(lambda: site.epochs(order) > epoch + 5, what="training to go on")
        assert runner.process.poll() is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "it is not JSON"),
        (b'{"schema_version": 3, "edge": "edge-1", "generation": 9, "orders": []}', "schema_version: found 3"),
        (b" " * 1_000_001, "at most 1000000 are allowed"),
    ],
    ids=["no JSON", "another version", "too long"],
)
def test_a_malformed_inbox_is_told_of_and_changes_nothing(site: Site, content: bytes, said: str) -> None:
    order = site.order()
    site.want(order)
    with site.running():
        until(lambda: site.report(order))
        write_mount(site.inbox, {"inbox.json": content})
        site.finish(order)
        ledger = Ledger(Folders(site.state).ledger)
        until(lambda: said in (ledger.fact("inbox_fault") or ""))
        site.want(order)
        until(lambda: ledger.fact("inbox_fault") is None)


@pytest.mark.parametrize(
    ("otherwise", "fault"),
    [
        ({"work": {"kind": "sing", "song": "any"}}, "'sing'"),
        ({"outputs": {}}, "an order to train has the outputs model"),
    ],
    ids=["another kind", "malformed"],
)
def test_an_order_that_cannot_be_read_is_refused_alone_and_the_cloud_is_told_why(
    site: Site, otherwise: dict[str, Any], fault: str
) -> None:
    first, odd, last = site.order(1), site.order(2), site.order(3)
    site.want_as_written(written(first), written(odd) | otherwise, written(last))
    with site.running():
        assert_refused(site, odd, fault)
        for order in (first, last):
            site.finish(order)
        until(lambda: not Ledger(Folders(site.state).ledger).entries(), what="the closing of all orders")

        # It is issued again, as the cloud has lost what it was told.
        shutil.rmtree(site.cloud / odd.id)
        again = odd.model_copy(update={"issued_at": datetime.now(UTC)})
        site.want_as_written(written(again) | otherwise)
        assert_refused(site, again, fault)

    # A runner that starts with such a ledger goes on.
    next_one = site.order(4)
    site.want_as_written(written(again) | otherwise, written(next_one))
    with site.running():
        site.finish(next_one)
    assert [entry.phase for entry in Ledger(Folders(site.state).ledger).entries(latest=2)] == [Phase.FAILED, Phase.DONE]


def test_a_refusal_that_did_not_reach_the_cloud_before_a_restart_reaches_it_with_its_reason(site: Site) -> None:
    odd = site.order(1)
    site.cloud.mkdir(exist_ok=True)
    (site.cloud / odd.id).write_bytes(b"")  # A file where a folder is needed: no report can be sent.
    site.want_as_written(written(odd) | {"work": {"kind": "sing"}})
    with site.running():
        until(lambda: Ledger(Folders(site.state).ledger).entries())
    (site.cloud / odd.id).unlink()
    with site.running():
        assert_refused(site, odd, "'sing'")


def written(order: Order) -> dict[str, Any]:
    """An order as the cloud writes it."""
    found: dict[str, Any] = json.loads(order.to_json())
    return found


def assert_refused(site: Site, order: Order, fault: str) -> None:
    report = site.finish(order, Phase.FAILED)
    assert report.error is not None
    assert report.error.kind == "InvalidDocument"
    assert fault in report.error.message
    assert (report.points, report.samples) == ((), 0)


def test_an_order_of_which_nothing_can_be_read_holds_up_nothing_and_cancels_nothing_that_is_known_by_its_id(site: Site) -> None:
    known, other = site.order(1, training=LONG), site.order(2)
    site.want(known)
    with site.running() as runner:
        until(lambda: site.epochs(known) > 0)
        site.want_as_written(written(known) | {"report": None}, written(other))
        until(lambda: site.phase(other) is Phase.ACCEPTED)
        assert "report: found None" in runner.text()
        epoch = site.epochs(known)
        until(lambda: site.epochs(known) > epoch, what="training to go on")
        site.want(other)
        site.finish(other)
        first, _ = Ledger(Folders(site.state).ledger).entries(latest=2)
        assert first.phase is Phase.CANCELLED


def test_an_older_runner_finishes_what_it_has_and_takes_up_what_it_could_not_read_once_it_is_upgraded(site: Site) -> None:
    known, newer = site.order(1), site.order(2)
    site.want(known)
    with site.running() as runner:
        until(lambda: site.report(known))
        site.want_as_written(written(known), written(newer) | {"report": None})
        until(lambda: "report: found None" in runner.text())
        site.finish(known)
        assert site.report(newer) is None
        assert runner.end() == 0
    # The upgraded one reads the same inbox; to this one it is written in its own form.
    site.want(newer, generation=site.generation)
    with site.running():
        site.finish(newer)


@pytest.mark.parametrize("option", ["--inbox", "--state", "--samples", "--files-root"])
def test_a_path_that_no_message_can_hold_is_refused_at_the_start(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--inbox", "/inbox", "--state", "/state", option, os.fsdecode(b"/S\xfcd")])

    assert rf"argument {option}: /S\xfcd is not UTF-8: rename it" in capsys.readouterr().err


def test_an_inbox_for_another_edge_is_refused(site: Site) -> None:
    order = site.order()
    site.want(order)
    with site.running() as runner:
        site.finish(order)
        write_mount(site.inbox, {"inbox.json": Inbox(edge="edge-2", generation=9).to_json()})
        until(lambda: "the state directory belongs to the edge edge-1" in runner.text())


@pytest.mark.parametrize("year", [1970, 2999])
def test_the_clouds_clock_means_nothing(site: Site, year: int) -> None:
    order = site.order(issued_at=datetime(year, 1, 1, tzinfo=UTC))
    site.want(order)
    with site.running():
        site.finish(order)


def test_work_beyond_its_time_limit_fails(site: Site) -> None:
    order = site.order(training=LONG, time_limit_seconds=1.5)
    site.want(order)
    with site.running():
        report = site.finish(order, Phase.FAILED)
        until(lambda: not site.work(), what="the end of the work")
    assert report.error is not None
    assert report.error.kind == "deadline"
    assert "within 1.5 s" in report.error.message


def test_the_time_limit_goes_on_while_the_runner_is_away(site: Site) -> None:
    order = site.order(training=LONG, time_limit_seconds=3)
    site.want(order)
    with site.running():
        until(lambda: site.report(order))
    ledger = Ledger(Folders(site.state).ledger)
    (entry,) = ledger.entries(latest=1)
    until(lambda: entry.accepted.seconds_until(now()) > 3)
    last = ledger.points(order.id, 2)[-1:]
    with site.running():
        site.finish(order, Phase.FAILED)
    assert ledger.points(order.id, 2)[-1:] == last  # It was not taken up again.


def test_an_unknown_architecture_fails_at_once_with_its_remedy(site: Site) -> None:
    order = site.order(model=ModelSpec(architecture="perceptron"))
    site.want(order)
    with site.running():
        report = site.finish(order, Phase.FAILED)
    assert report.error is not None
    assert report.error.kind == "InvalidInput"
    assert "'perceptron'" in report.error.message


def test_a_model_that_is_not_the_announced_one_fails_at_once(site: Site) -> None:
    base = site.base()
    path = site.cloud / "base.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    order = site.order(inputs={"base": base})
    site.want(order)
    with site.running():
        report = site.finish(order, Phase.FAILED)
    assert report.error is not None
    assert report.error.kind == "InvalidModel"
    assert f"the order announced {base.size} bytes with sha256 {base.sha256}" in report.error.message
    assert "put the recorded one back, or run the task under another id; else run the same task again" in report.error.message


def test_a_model_of_another_network_fails_at_once(site: Site) -> None:
    order = site.order(model=ModelSpec(architecture="mlp", parameters={"layers": 1, "width": 9}))
    site.want(order)
    with site.running():
        report = site.finish(order, Phase.FAILED)
    assert report.error is not None
    assert report.error.kind == "InvalidModel"


def test_a_file_outside_the_given_roots_is_not_read(site: Site) -> None:
    secret = site.root / "secret"
    secret.write_bytes(b"x")
    order = site.order(inputs={"base": site.base().model_copy(update={"url": secret.as_uri()})})
    site.want(order)
    with site.running():
        report = site.finish(order, Phase.FAILED)
    assert report.error is not None
    assert "--files-root" in report.error.message


def test_an_edge_without_samples_says_where_to_put_them(site: Site) -> None:
    (site.samples / "first.jsonl").unlink()
    (site.samples / "bad.jsonl").write_text('{"x": [1, 2], "label": "low"}\n')
    order = site.order()
    site.want(order)
    with site.running():
        report = site.finish(order, Phase.FAILED)
    assert report.error is not None
    assert report.error.kind == "InvalidSamples"
    assert str(site.samples) in report.error.message
    assert "bad.jsonl" in report.error.message


def test_a_base_that_is_not_there_yet_is_waited_for(site: Site) -> None:
    base = site.base()
    path, later = site.cloud / "base.safetensors", site.cloud / "later.safetensors"
    path.rename(later)
    order = site.order(inputs={"base": base})
    site.want(order)
    with site.running():
        until(lambda: (report := site.report(order)) and report.error and "Cannot read" in report.error.message)
        later.rename(path)
        report = site.finish(order)
    assert report.error is None


def test_renewed_urls_take_the_place_of_the_old_ones(site: Site) -> None:
    base = site.base()
    order = site.order(inputs={"base": base.model_copy(update={"url": (site.cloud / "gone").as_uri()})})
    site.want(order)
    with site.running():
        until(lambda: (report := site.report(order)) and report.error)
        site.want(order.model_copy(update={"inputs": {"base": base}}))
        site.finish(order)


def test_an_order_that_changes_its_work_under_the_same_id_keeps_the_first(site: Site) -> None:
    order = site.order(training=LONG)
    site.want(order)
    with site.running() as runner:
        until(lambda: site.epochs(order) > 0)
        site.want(order.model_copy(update={"work": order.work.model_copy(update={"training": TRAINING})}))
        until(lambda: "other work under the same id" in runner.text())
        epoch = site.epochs(order)
        until(lambda: site.epochs(order) > epoch)


def test_an_order_issued_again_with_other_work_is_begun_anew(site: Site) -> None:
    order = site.order(training=LONG)
    site.want(order)
    with site.running():
        until(lambda: site.epochs(order) > TRAINING.epochs)
        again = site.order()
        site.want(again)
        report = site.finish(again)
    assert [point.sequence for point in report.points] == list(range(TRAINING.epochs + 1))
    assert site.history(again) == report.points


def test_below_target_new_samples_are_collected_and_training_goes_on(site: Site) -> None:
    target = Training(epochs=2, batch_size=8, learning_rate=0.5, target_accuracy=1.0)
    order = site.order(training=target, recollection=Recollection(most=50, wait_seconds=60))
    site.want(order)
    with site.running():
        added = 0
        while not (phase := site.phase(order)) or not phase.over:
            report = site.report(order)
            again = report and report.phase is Phase.COLLECTING and report.points  # Before any point: the first gathering.
            if report and again and report.gauges["recollections"] == added:
                added += 1
                write_samples(site.samples / f"more-{added:02}.jsonl", 40, seed=added)
        site.finish(order)
    trained = site.trained(order)
    assert trained.target_met
    assert trained.scores["model"].accuracy == 1.0
    assert 1 <= trained.recollections <= added
    assert trained.samples > 30


def test_a_recollection_that_finds_nothing_ends_with_the_best_model(site: Site) -> None:
    target = Training(epochs=2, batch_size=8, learning_rate=1e-6, target_accuracy=1.0)
    order = site.order(training=target, recollection=Recollection(most=5, wait_seconds=0.2))
    site.want(order)
    with site.running():
        site.finish(order)
    trained = site.trained(order)
    assert not trained.target_met
    assert trained.recollections == 0
    assert trained.epochs == 2


def test_recollections_are_bounded(site: Site) -> None:
    target = Training(epochs=2, batch_size=8, learning_rate=1e-6, target_accuracy=1.0)
    order = site.order(training=target, recollection=Recollection(most=1, wait_seconds=60))
    site.want(order)
    with site.running():
        until(lambda: site.phase(order) is Phase.COLLECTING and site.epochs(order) == 2)
        write_samples(site.samples / "second.jsonl", 40, seed=1)
        site.finish(order)
    trained = site.trained(order)
    assert (trained.recollections, trained.epochs, trained.target_met) == (1, 4, False)


def test_each_edge_and_round_shuffles_in_its_own_way_but_always_the_same(site: Site) -> None:
    orders = [site.order(1), site.order(2)]
    site.want(*orders)
    with site.running():
        for order in orders:
            site.finish(order)
    assert site.model_digest(orders[0]) != site.model_digest(orders[1])


def test_a_result_that_a_runner_of_the_first_version_left_on_the_disk_is_sent(site: Site) -> None:
    """Its work had ended, and the machine went off before the runner took note of it."""
    order, folders = site.order(model_file_name="digits.safetensors"), Folders(site.state)
    site.want(order)
    entry = Entry(order, Phase.ACCEPTED, now())
    ledger = Ledger(folders.ledger)
    ledger.apply(site.generation, "edge-1", [entry], [], [], [])
    ledger.stand(replace(entry, phase=Phase.EVALUATING))
    content = Path(urlsplit(site.base().url).path).read_bytes()
    model = folders.trained(order.id) / "digits.safetensors"
    model.parent.mkdir(parents=True)
    model.write_bytes(content)
    scores = {"samples": 10, "loss": 0.5, "accuracy": 0.75, "recall": 0.75}
    manifest = {
        **{"schema_version": 1, "order": order.id, "run": "run", "round": 1, "edge": "edge-1", "attempt": 1, "seconds": 1.0},
        **{"model_sha256": sha256_of(model), "model_size": len(content), "base_sha256": order.inputs["base"].sha256},
        **{"samples": 30, "label_histogram": {"low": 15, "high": 15}, "scores": {"base": scores, "result": scores}},
    }
    folders.manifest(order.id).write_text(json.dumps(manifest))

    with site.running():
        site.finish(order)

    assert site.model_digest(order) == site.manifest(order).outputs["model"].sha256
    assert site.trained(order).scores["model"].accuracy == 0.75
    assert [found.accuracy for found in ledger.models()] == [0.75]


def test_a_result_is_completed_to_the_same_bytes_however_often_its_runner_dies_on_the_way(site: Site) -> None:
    order, names = site.order(), ("history.json", "manifest.json", "model.safetensors")
    site.want(order)
    with site.running():
        site.finish(order)
    sent = {name: (site.cloud / order.id / name).read_bytes() for name in names}
    for name in (*names, "report.json"):
        (site.cloud / order.id / name).unlink()
    # As if the machine had gone off when all was written but the ledger.
    with sqlite3.connect(Folders(site.state).ledger) as database:
        database.execute("UPDATE orders SET phase = 'evaluating', closed = 0")
    database.close()

    with site.running():
        site.finish(order)

    assert {name: (site.cloud / order.id / name).read_bytes() for name in names} == sent


def test_an_idle_runner_is_small(site: Site) -> None:
    site.want()
    with site.running() as runner:
        until(lambda: Ledger(Folders(site.state).ledger).fact("generation") == "1")
        assert psutil.Process(runner.process.pid).memory_info().rss < 40 * 2**20
