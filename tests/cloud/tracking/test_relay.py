import json
import math
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloud.tracking import NOTE_TAG, Dataset, MetricPoint, Relay, TrackingLog, TrackingRecord
from cloud.tracking.names import mlflow_name
from cloudedge.errors import StoreFailed
from cloudedge.store import DirectoryStore
from tests.cloud.tracking import told
from tests.cloud.tracking.told import START, after, edge_record, history, point, runs_in, runs_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

pytestmark = pytest.mark.filterwarnings(*told.WARNINGS_OF_MLFLOW)


@pytest.fixture
def log(store: DirectoryStore) -> TrackingLog:
    return TrackingLog(store, "digits")


@pytest.fixture
def relay(store: DirectoryStore, tracking_uri: str, experiment: str) -> Relay:
    return Relay(store, "digits", tracking_uri, experiment)


def test_a_run_and_its_edges_become_a_run_with_child_runs_in_an_experiment_of_their_own(
    client: "MlflowClient", experiment: str, log: TrackingLog, relay: Relay
) -> None:
    log.append(
        [
            TrackingRecord(
                at=START,
                params={"seed": "7"},
                tags={"cloudedge.rule": "samples"},
                metrics=(point("accuracy", 0.5, 0), point("accuracy", 0.75, 1, 60)),
            )
        ],
        "pretrain",
    )
    log.append([edge_record("edge-1", point("loss", 0.25, 1, 70), seconds=65, status="running")], "wait-001-000001")
    log.append([edge_record("edge-1", point("loss", 0.125, 2, 80), seconds=81, status="finished")], "wait-001-000002")
    log.append([TrackingRecord(at=after(90), status="finished")], "end")

    assert relay.push() == 4

    runs = runs_of(client, experiment)
    run, child = runs["digits"], runs["digits/edge-1"]
    assert set(runs_in(client, experiment)) == {"digits"}
    assert set(runs) == {"digits", "digits/edge-1"}
    assert run.data.params == {"seed": "7"}
    made = client.get_experiment_by_name(experiment)
    assert made is not None
    assert made.tags["mlflow.experimentKind"] == "custom_model_development"
    assert run.data.tags["cloudedge.run"] == "digits"
    assert run.data.tags["cloudedge.rule"] == "samples"
    assert history(client, run, "accuracy") == [(0, 0.5), (1, 0.75)]
    assert (run.info.status, run.info.start_time, run.info.end_time) == ("FINISHED", _ms(0), _ms(90))
    assert child.data.tags["mlflow.parentRunId"] == run.info.run_id
    assert (child.data.tags["cloudedge.run"], child.data.tags["cloudedge.edge"]) == ("digits", "edge-1")
    assert history(client, child, "loss") == [(1, 0.25), (2, 0.125)]
    assert (child.info.status, child.info.start_time, child.info.end_time) == ("FINISHED", _ms(65), _ms(81))


def test_names_that_mlflow_does_not_take_are_told_by_others_each_time_by_the_same(
    client: "MlflowClient", store: DirectoryStore, tracking_uri: str, experiment: str, log: TrackingLog
) -> None:
    odd = ["test_accuracy/(a)", "test_accuracy/[a]", "环境", "test_accuracy/Süd"]
    for name in ("evaluate", "evaluate-again"):
        metrics = tuple(point(key, 0.5, 1) for key in odd)
        log.append([TrackingRecord(at=START, metrics=metrics, params={"a b!": "1"}, tags={"100 %": "1"})], name)
        Relay(store, "digits", tracking_uri, experiment).push()

    run = runs_of(client, experiment)["digits"]
    assert set(run.data.metrics) == {mlflow_name(key) for key in odd}
    assert [history(client, run, key) for key in run.data.metrics] == [[(1, 0.5)]] * 4
    assert run.data.params == {mlflow_name("a b!"): "1"}
    assert run.data.tags[mlflow_name("100 %")] == "1"


def test_what_was_sent_is_not_sent_again(log: TrackingLog, relay: Relay) -> None:
    log.append([edge_record("edge-1", point("loss", 0.5, 1))], "wait-1")
    assert relay.push() == 1
    assert relay.push() == 0
    log.append([edge_record("edge-1", point("loss", 0.25, 2))], "wait-2")
    assert relay.push() == 1


def test_another_process_goes_on_where_the_first_was(
    client: "MlflowClient", store: DirectoryStore, tracking_uri: str, experiment: str, log: TrackingLog, relay: Relay
) -> None:
    log.append([TrackingRecord(at=START), edge_record("edge-1", point("loss", 0.5, 1))], "wait-1")
    relay.push()
    log.append([edge_record("edge-1", point("loss", 0.25, 2)), edge_record("edge-2", point("loss", 1, 1))], "wait-2")

    assert Relay(store, "digits", tracking_uri, experiment).push() == 2

    runs = runs_of(client, experiment)
    assert set(runs) == {"digits", "digits/edge-1", "digits/edge-2"}
    assert history(client, runs["digits/edge-1"], "loss") == [(1, 0.5), (2, 0.25)]


def test_a_repeated_step_adds_only_what_it_measured_anew(
    client: "MlflowClient", store: DirectoryStore, tracking_uri: str, experiment: str, log: TrackingLog, relay: Relay
) -> None:
    log.append([edge_record("edge-1", point("loss", 0.5, 1), point("loss", math.nan, 2))], "wait-1")
    relay.push()
    again = (point("loss", 0.5, 1, 99), point("loss", math.nan, 2, 99), point("loss", 0.25, 3, 99), point("seconds", 2, 1, 99))
    log.append([edge_record("edge-1", *again, seconds=99)], "wait-1")

    assert Relay(store, "digits", tracking_uri, experiment).push() == 2

    child = runs_of(client, experiment)["digits/edge-1"]
    assert [step for step, _ in history(client, child, "loss")] == [1, 2, 3]
    assert history(client, child, "seconds") == [(1, 2.0)]


def test_a_lost_cursor_tells_mlflow_nothing_twice(
    client: "MlflowClient", store: DirectoryStore, tracking_uri: str, experiment: str, log: TrackingLog, relay: Relay
) -> None:
    log.append([TrackingRecord(at=START, params={"seed": "7"}, metrics=(point("accuracy", math.inf, 1),))], "pretrain")
    log.append([edge_record("edge-1", point("loss", 0.5, 1))], "wait-1")
    relay.push()
    # As after a crash between telling MLflow and writing the cursor.
    key = "runs/digits/tracking/relayed.json"
    cursor = json.loads(store.get(key, 10_000))
    store.put(key, json.dumps({**cursor, "versions": {}, "parent": ""}).encode())

    assert Relay(store, "digits", tracking_uri, experiment).push() == 0

    runs = runs_of(client, experiment)
    assert set(runs) == {"digits", "digits/edge-1"}
    assert history(client, runs["digits"], "accuracy") == [(1, sys.float_info.max)]


def test_two_stores_with_the_same_run_id_have_a_run_each(
    client: "MlflowClient", tmp_path: Path, tracking_uri: str, experiment: str, log: TrackingLog, relay: Relay
) -> None:
    other = DirectoryStore(tmp_path / "other")
    for each in (log, TrackingLog(other, "digits")):
        each.append([TrackingRecord(at=START)], "pretrain")
    relay.push()
    Relay(other, "digits", tracking_uri, experiment).push()
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    assert [run.info.run_name for run in client.search_runs([found.experiment_id])] == ["digits", "digits"]


def test_a_changed_parameter_keeps_its_first_value_and_holds_nothing_up(
    client: "MlflowClient", experiment: str, log: TrackingLog, relay: Relay
) -> None:
    log.append([TrackingRecord(at=START, params={"seed": "7"})], "first")
    relay.push()
    log.append(
        [TrackingRecord(at=after(1), params={"seed": "8", "rule": "uniform"}, metrics=(point("accuracy", 1, 1),))], "then"
    )
    assert relay.push() == 1
    assert runs_of(client, experiment)["digits"].data.params == {"seed": "7", "rule": "uniform"}


def test_more_than_one_call_can_hold_arrives_whole(
    client: "MlflowClient", experiment: str, log: TrackingLog, relay: Relay
) -> None:
    log.append(
        [
            TrackingRecord(
                at=START,
                params={f"p{n}": "x" * 7000 for n in range(250)},
                tags={f"t{n}": "y" * 9000 for n in range(120)},
                metrics=tuple(point("loss", n / 4, n, n) for n in range(2000)),
            )
        ],
        "pretrain",
    )
    assert relay.push() == 2000
    run = runs_of(client, experiment)["digits"]
    assert history(client, run, "loss") == [(n, n / 4) for n in range(2000)]
    assert (len(run.data.params), sum(key.startswith("t") for key in run.data.tags)) == (250, 120)


def test_the_run_that_kubeflow_made_is_used_and_left_for_kubeflow_to_end(
    client: "MlflowClient", store: DirectoryStore, tracking_uri: str, experiment: str, log: TrackingLog
) -> None:
    kubeflow = client.create_experiment(f"{experiment}-kubeflow")
    pipeline = client.create_run(kubeflow, run_name="pipeline").info.run_id
    task = client.create_run(kubeflow, run_name="wait-2", tags={"mlflow.parentRunId": pipeline}).info.run_id
    log.append([TrackingRecord(at=START, status="finished"), edge_record("edge-1", point("loss", 0.5, 1))], "wait-1")

    Relay(store, "digits", tracking_uri, experiment, task).push()

    runs = runs_of(client, f"{experiment}-kubeflow")
    assert set(runs) == {"pipeline", "wait-2", "digits/edge-1"}
    assert runs["pipeline"].info.status == "RUNNING"
    assert runs["pipeline"].data.tags["cloudedge.run"] == "digits"
    assert runs["digits/edge-1"].data.tags["mlflow.parentRunId"] == pipeline
    assert client.get_experiment_by_name(experiment) is None


def test_a_run_of_kubeflows_that_mlflow_does_not_have_is_said_and_replaced_by_one_of_our_own(
    client: "MlflowClient",
    store: DirectoryStore,
    tracking_uri: str,
    experiment: str,
    log: TrackingLog,
    caplog: pytest.LogCaptureFixture,
) -> None:
    elsewhere = "0" * 32
    log.append([TrackingRecord(at=START, metrics=(point("accuracy", 0.5, 0),))], "pretrain")
    assert Relay(store, "digits", tracking_uri, experiment, elsewhere).push() == 1
    assert f"MLflow does not have the run {elsewhere} that Kubeflow made" in caplog.text
    # Each step is a process of its own; the run stays the same one.
    log.append([TrackingRecord(at=after(1), status="finished", metrics=(point("accuracy", 1, 1),))], "evaluate")
    assert Relay(store, "digits", tracking_uri, experiment, elsewhere).push() == 1

    run = runs_of(client, experiment)["digits"]
    assert history(client, run, "accuracy") == [(0, 0.5), (1, 1.0)]
    assert run.info.status == "FINISHED"


def test_a_run_of_kubeflows_that_somebody_threw_away_is_replaced_by_one_of_our_own(
    client: "MlflowClient", store: DirectoryStore, tracking_uri: str, experiment: str, log: TrackingLog
) -> None:
    theirs = client.create_run(client.create_experiment(f"{experiment}-kubeflow")).info.run_id
    client.delete_run(theirs)
    log.append([TrackingRecord(at=START, metrics=(point("accuracy", 0.5, 0),))], "pretrain")
    assert Relay(store, "digits", tracking_uri, experiment, theirs).push() == 1
    assert set(runs_of(client, experiment)) == {"digits"}


def test_a_run_that_an_earlier_version_told_by_round_goes_on_with_a_run_for_each_edge(
    client: "MlflowClient", store: DirectoryStore, tracking_uri: str, experiment: str, log: TrackingLog, relay: Relay
) -> None:
    log.append([TrackingRecord(at=START)], "pretrain")
    relay.push()
    run = runs_of(client, experiment)["digits"].info
    former = {"mlflow.parentRunId": run.run_id, "cloudedge.child": "round-001/edge-1"}
    client.create_run(run.experiment_id, run_name="round-001/edge-1", tags=former)
    by_round = edge_record("edge-1", point("loss", 0.5, 1), child="round-001/edge-1", round=1)
    log.append([by_round], "wait-000001-000000")
    log.append([edge_record("edge-1", point("loss", 0.25, 7))], "wait-000002-000000")

    assert Relay(store, "digits", tracking_uri, experiment).push() == 2

    assert set(runs_in(client, experiment)) == {"digits", "round-001/edge-1"}
    runs = runs_of(client, experiment)
    assert history(client, runs["round-001/edge-1"], "loss") == [(1, 0.5)]
    assert history(client, runs["digits/edge-1"], "loss") == [(7, 0.25)]


@pytest.mark.parametrize("status", [403, 404, 400])
def test_where_no_further_experiment_may_be_made_child_runs_are_in_the_runs_own(
    client: "MlflowClient",
    store: DirectoryStore,
    tracking_uri: str,
    experiment: str,
    log: TrackingLog,
    relay: Relay,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from mlflow.protos import databricks_pb2 as codes

    client.create_experiment(experiment)
    by_name = MlflowClient.get_experiment_by_name

    def refuse(*_: object, **__: object) -> str:
        code = {403: codes.PERMISSION_DENIED, 404: codes.ENDPOINT_NOT_FOUND, 400: codes.INVALID_PARAMETER_VALUE}[status]
        raise MlflowException("Not here.", code)

    def by_our_name(self: "MlflowClient", name: str) -> object:
        return by_name(self, name) if name == experiment else refuse()

    with monkeypatch.context() as guarded:
        guarded.setattr(MlflowClient, "create_experiment", refuse)
        guarded.setattr(MlflowClient, "get_experiment_by_name", by_our_name)
        log.append([TrackingRecord(at=START), edge_record("edge-1", point("loss", 0.5, 1))], "wait-1")
        assert relay.push() == 1
        log.append([edge_record("edge-1", point("loss", 0.25, 2))], "wait-2")
        assert Relay(store, "digits", tracking_uri, experiment).push() == 1

    runs = runs_in(client, experiment)
    assert set(runs) == {"digits", "digits/edge-1"}
    assert history(client, runs["digits/edge-1"], "loss") == [(1, 0.5), (2, 0.25)]


def test_where_the_experiment_of_child_runs_may_not_be_written_they_are_in_the_runs_own(
    client: "MlflowClient", experiment: str, log: TrackingLog, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import PERMISSION_DENIED

    own, others = client.create_experiment(experiment), client.create_experiment(f"{experiment}-epochs")
    create_run = MlflowClient.create_run

    def in_ours(self: "MlflowClient", place: str, *arguments: object, **more: object) -> object:
        if place == others:
            raise MlflowException("Not yours.", PERMISSION_DENIED)
        return create_run(self, place, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(MlflowClient, "create_run", in_ours)
    edges = [edge_record(edge, point("loss", 0.5, 1)) for edge in ("edge-1", "edge-2")]
    log.append([TrackingRecord(at=START), *edges], "wait-1")
    assert relay.push() == 2
    assert {run.info.experiment_id for run in runs_in(client, experiment).values()} == {own}
    assert len(runs_in(client, experiment)) == 3


def test_an_experiment_of_child_runs_that_somebody_threw_away_stays_away_and_holds_nothing_up(
    client: "MlflowClient", experiment: str, log: TrackingLog, relay: Relay
) -> None:
    client.delete_experiment(client.create_experiment(f"{experiment}-epochs"))
    log.append([TrackingRecord(at=START), edge_record("edge-1", point("loss", 0.5, 1))], "wait-1")
    assert relay.push() == 0
    assert set(runs_of(client, experiment)) == {"digits"}


def test_a_runs_note_begins_with_the_way_to_its_child_runs(
    client: "MlflowClient", store: DirectoryStore, tracking_uri: str, experiment: str, log: TrackingLog, relay: Relay
) -> None:
    def note() -> str:
        return runs_of(client, experiment)["digits"].data.tags.get(NOTE_TAG, "")

    log.append([TrackingRecord(at=START, tags={NOTE_TAG: "In progress."})], "create")
    relay.push()
    assert note() == "In progress."

    log.append([edge_record("edge-1", point("loss", 0.5, 1))], "wait-1")
    relay.push()
    link, _, rest = note().partition("\n\n")
    beside = client.get_experiment_by_name(f"{experiment}-epochs")
    assert beside is not None
    assert re.fullmatch(rf"\[.+\]\(#/experiments/{beside.experiment_id}/runs\?.+digits.+\)", link)
    assert rest == "In progress."

    # By another process, and too long for both.
    log.append([TrackingRecord(at=after(9), tags={NOTE_TAG: "x" * 8000})], "report")
    Relay(store, "digits", tracking_uri, experiment).push()
    assert note().startswith(f"{link}\n\nxxx")


def test_an_edge_that_goes_on_in_another_process_costs_no_look_at_what_it_told_before(
    client: "MlflowClient",
    store: DirectoryStore,
    tracking_uri: str,
    experiment: str,
    log: TrackingLog,
    relay: Relay,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mlflow import MlflowClient

    log.append([TrackingRecord(at=START), edge_record("edge-1", point("loss", 0.5, 1))], "wait-1")
    relay.push()
    monkeypatch.setattr(MlflowClient, "get_metric_history", None)
    log.append([edge_record("edge-1", point("loss", 0.25, 2))], "wait-2")

    assert Relay(store, "digits", tracking_uri, experiment).push() == 1


@pytest.mark.parametrize("error", [KeyError("run"), ValueError("no JSON"), RecursionError(), AttributeError("of None")])
def test_whatever_mlflow_raises_is_one_kind_of_error(
    log: TrackingLog, relay: Relay, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    from mlflow import MlflowClient

    def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(MlflowClient, "log_batch", broken)
    log.append([TrackingRecord(at=START, params={"seed": "7"})], "pretrain")
    with pytest.raises(StoreFailed, match="did not take the run's records: .*kept in the store"):
        relay.push()


def test_a_run_thrown_away_in_mlflow_is_told_whole_again(
    client: "MlflowClient", store: DirectoryStore, tracking_uri: str, experiment: str, log: TrackingLog, relay: Relay
) -> None:
    log.append([TrackingRecord(at=START, metrics=(point("accuracy", 0.5, 0),))], "pretrain")
    relay.push()
    client.delete_run(runs_of(client, experiment)["digits"].info.run_id)
    log.append([TrackingRecord(at=after(1), metrics=(point("accuracy", 1, 1),))], "evaluate")

    assert Relay(store, "digits", tracking_uri, experiment).push() == 2

    assert history(client, runs_of(client, experiment)["digits"], "accuracy") == [(0, 0.5), (1, 1.0)]


def test_a_child_run_thrown_away_in_mlflow_stays_away_and_holds_nothing_up(
    client: "MlflowClient", store: DirectoryStore, tracking_uri: str, experiment: str, log: TrackingLog, relay: Relay
) -> None:
    log.append([edge_record("edge-1", point("loss", 0.5, 1)), edge_record("edge-2", point("loss", 0.5, 1))], "wait-1")
    relay.push()
    client.delete_run(runs_of(client, experiment)["digits/edge-1"].info.run_id)
    log.append([edge_record("edge-1", point("loss", 0.25, 2)), edge_record("edge-2", point("loss", 0.25, 2))], "wait-2")

    assert Relay(store, "digits", tracking_uri, experiment).push() == 1

    runs = runs_of(client, experiment)
    assert set(runs) == {"digits", "digits/edge-2"}
    assert history(client, runs["digits/edge-2"], "loss") == [(1, 0.5), (2, 0.25)]


def test_a_malformed_batch_is_left_out_and_holds_nothing_up(
    client: "MlflowClient",
    store: DirectoryStore,
    experiment: str,
    log: TrackingLog,
    relay: Relay,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store.put("runs/digits/tracking/records/bad.json", b'{"records": [{"at": "yesterday"}]}')
    log.append([TrackingRecord(at=START, metrics=(point("accuracy", 0.5, 0),))], "pretrain")
    assert relay.push() == 1
    assert relay.push() == 0
    assert "bad.json is not a valid trackingbatch" in caplog.text
    assert set(runs_of(client, experiment)) == {"digits"}


def test_a_database_that_is_none_is_one_clear_error_and_a_later_push_succeeds(
    tmp_path: Path, store: DirectoryStore, experiment: str, log: TrackingLog, client: "MlflowClient", tracking_uri: str
) -> None:
    (tmp_path / "mlflow.db").write_text("this is no database, but it is longer than a header of one would be")
    log.append([TrackingRecord(at=START, metrics=(point("accuracy", 0.5, 0),))], "pretrain")
    with pytest.raises(StoreFailed, match=r"MLflow at sqlite:.*file is not a database.* What it lacks is kept in the store"):
        Relay(store, "digits", f"sqlite:///{tmp_path / 'mlflow.db'}", experiment).push()
    assert Relay(store, "digits", tracking_uri, experiment).push() == 1


def test_what_an_edge_trained_on_is_its_runs_dataset(
    client: "MlflowClient", experiment: str, log: TrackingLog, relay: Relay
) -> None:
    dataset = Dataset(name="edge-1", fingerprint="ab" * 32, samples=80)
    for name in ("wait-1", "wait-1-again"):
        log.append([edge_record("edge-1", dataset=dataset)], name)
        relay.push()

    inputs = runs_of(client, experiment)["digits/edge-1"].inputs
    assert inputs is not None
    (found,) = inputs.dataset_inputs
    assert (found.dataset.name, found.dataset.digest) == ("edge-1", "ab" * 16)
    assert found.dataset.profile == '{"num_rows":80}'
    assert [(tag.key, tag.value) for tag in found.tags] == [("mlflow.data.context", "training")]


def test_files_are_shown_with_the_run_and_one_that_is_gone_holds_nothing_up(
    client: "MlflowClient", store: DirectoryStore, experiment: str, log: TrackingLog, relay: Relay, tmp_path: Path
) -> None:
    store.put("runs/digits/report.html", b"<p>first")
    files = {"report.html": "runs/digits/report.html", "gone.txt": "runs/digits/gone.txt"}
    log.append([TrackingRecord(at=START)], "report", files=files)
    relay.push()
    store.put("runs/digits/report.html", b"<p>second")
    log.append([TrackingRecord(at=after(1))], "report", files=files)
    relay.push()

    run = runs_of(client, experiment)["digits"].info.run_id
    assert [file.path for file in client.list_artifacts(run)] == ["report.html"]
    assert Path(client.download_artifacts(run, "report.html", str(tmp_path))).read_bytes() == b"<p>second"


def test_a_password_in_the_address_is_not_shown(
    store: DirectoryStore, experiment: str, log: TrackingLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    log.append([TrackingRecord(at=START)], "pretrain")
    with pytest.raises(StoreFailed, match=r"MLflow at http://127\.0\.0\.1:9 did not take") as failure:
        Relay(store, "digits", "http://somebody:secret@127.0.0.1:9", experiment).push()
    assert "secret" not in str(failure.value)


def test_metrics_keep_the_time_at_which_they_were_measured(
    client: "MlflowClient", experiment: str, log: TrackingLog, relay: Relay
) -> None:
    log.append([TrackingRecord(at=START, metrics=(MetricPoint(key="loss", value=1, step=0, at=after(1.2345)),))], "pretrain")
    relay.push()
    run = runs_of(client, experiment)["digits"]
    assert [metric.timestamp for metric in client.get_metric_history(run.info.run_id, "loss")] == [_ms(1.234)]


def _ms(seconds: float) -> int:
    return round(START.timestamp() * 1000 + seconds * 1000)
