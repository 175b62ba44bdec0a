"""Runs as Kubeflow tells of them: with a pipeline or a reference to it, with and without half of what there is to say."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kfp_server_api
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.runs.state import set_state
from cloud.runs.step_records import KubeflowRecord, RunState
from cloud.step import step
from cloudedge.errors import CloudedgeError, NotFound, StoreFailed
from cloudedge.network import Obstacle
from pipelines.kubeflow.answers import UNDER_WAY, explained, understood
from pipelines.kubeflow.client import Kubeflow, KubeflowSettings
from pipelines.kubeflow.progress import described, failure, in_words, rows
from tests.answers import Answer, Authority, answering, proxy
from tests.components.cloud import Cloud
from tests.obstacles import MET, WAYS
from tests.pipelines.kubeflow.answering import RUN, SPEC, VERSION, AnsweringKubeflow, answering_kubeflow
from tests.terminal import Cloudedge

BEGAN = datetime(2026, 1, 2, 3, tzinfo=UTC)


@pytest.fixture
def kubeflow() -> Iterator[AnsweringKubeflow]:
    """One that has our pipeline."""
    with answering_kubeflow() as kubeflow:
        kubeflow.versions["v1"] = SPEC
        yield kubeflow


def node(name: str, state: str = "SUCCEEDED", **said: Any) -> dict[str, Any]:
    """What Kubeflow says of one of Argo's nodes."""
    times = {"start_time": "2026-01-02T03:00:00Z", "end_time": "2026-01-02T03:01:05Z"}
    return {"display_name": name, "state": state, **times, **said}


# A run that was started in the UI.


def test_the_tasks_of_a_run_from_an_uploaded_package_are_its_versions_which_is_asked_for_once(
    kubeflow: AnsweringKubeflow,
) -> None:
    kubeflow.add(run_details={"task_details": [node("pretrain"), node("pretrain-driver")]})
    client = kubeflow.connected()

    run = client.find(RUN)

    assert rows(client.refreshed(run)) == [
        ("task", "state", "took"),
        ("Pretrain", "done", "1 min 5 s"),
        ("Round 1: wait", "not begun", ""),
    ]
    assert [path for path in kubeflow.asked if "/versions/" in path] == ["/apis/v2beta1/pipelines/p1/versions/v1"]


def test_a_run_whose_version_could_not_be_asked_for_once_has_its_tasks_the_next_time(kubeflow: AnsweringKubeflow) -> None:
    kubeflow.add()
    asked = kubeflow.connected()
    kubeflow.away = "/versions/"
    with pytest.raises(StoreFailed):
        asked.find(RUN)
    kubeflow.away = ""

    assert [task.name for task in asked.find(RUN).tasks] == ["Pretrain", "Round 1: wait"]


@pytest.mark.parametrize("spec", [{"pipeline_spec": SPEC, "platform_spec": {"platforms": {}}}, SPEC])
@pytest.mark.parametrize("reference", [{"pipeline_version_reference": VERSION}, {"pipeline_version_id": "v1"}])
def test_a_version_may_have_its_clusters_settings_beside_it_and_an_older_kubeflows_name(
    kubeflow: AnsweringKubeflow, spec: dict[str, Any], reference: dict[str, Any]
) -> None:
    kubeflow.versions["v1"] = spec
    kubeflow.add(**{"pipeline_version_reference": None, **reference})

    assert [task.name for task in kubeflow.connected().find(RUN).tasks] == ["Pretrain", "Round 1: wait"]


def test_of_a_run_whose_version_was_deleted_what_has_begun_is_shown_and_that_it_is_all(
    kubeflow: AnsweringKubeflow, cloudedge: Cloudedge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDEDGE_KUBEFLOW", kubeflow.url)
    kubeflow.versions.clear()
    started = {"start_time": "2026-01-02T03:02:00Z"}
    nodes = [node("root"), node("root-driver"), node("wait", "FAILED", **started), node("wait-driver", **started)]
    nodes += [node("pretrain"), node("pretrain(0)"), node("pretrain-driver"), node("executor")]
    kubeflow.add(run_details={"task_details": [*nodes, None]}, state="FAILED")

    shown = cloudedge("status", RUN)

    assert shown.code == 0, shown
    assert "Kubeflow does not have its pipeline any more" in shown.out
    assert [line.split()[:2] for line in shown.out.splitlines()[4:6]] == [["pretrain", "done"], ["wait", "failed"]]


def test_a_run_is_found_by_the_id_in_its_form_though_others_are_newer(kubeflow: AnsweringKubeflow) -> None:
    for number in range(250):
        kubeflow.add(str(number), runtime_config={"parameters": {"task_id": f"other-{number}"}})
    kubeflow.add(RUN)
    kubeflow.add("older")

    assert kubeflow.connected().find("bearings").id == RUN
    assert kubeflow.listings() == 2 + 3, "runs under way, runs with such a name, and three pages"


def test_the_search_among_all_runs_has_an_end(kubeflow: AnsweringKubeflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.kubeflow.client._MOST_RUNS", 2)
    for number in range(100):
        kubeflow.add(str(number), runtime_config=None)

    with pytest.raises(NotFound, match="knows no run of 'bearings'. .* older than its newest 20 goes by"):
        kubeflow.connected().find("bearings")

    assert kubeflow.listings() == 2 + 10


def test_the_store_leads_to_a_run_beyond_all_that_is_searched(kubeflow: AnsweringKubeflow) -> None:
    kubeflow.add("submitted", display_name="Bearings (bearings)", created_at="2026-01-01T00:00:00Z")
    kubeflow.add(RUN)
    client = kubeflow.connected()

    assert client.find("bearings", recorded=RUN).id == RUN
    assert client.find("bearings", recorded="").id == "submitted"
    assert client.find("bearings", recorded="deleted").id == "submitted"


def test_status_asks_the_store_before_it_looks_through_all_runs(
    kubeflow: AnsweringKubeflow, cloudedge: Cloudedge, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDEDGE_KUBEFLOW", kubeflow.url)
    kubeflow.add(runtime_config={"parameters": {"task_id": "digits"}})
    cloud.run.put(cloud.run.key("kubeflow.json"), KubeflowRecord(run=RUN))

    assert cloudedge("status", "digits", "--json").json["kubeflow_id"] == RUN
    assert kubeflow.listings() == 2, "runs under way, and runs with such a name"


@pytest.mark.parametrize(
    ("config", "spec", "task"),
    [
        ({"parameters": {"task_id": ""}}, SPEC, RUN),
        ({"parameters": {"task_id": None}}, SPEC, RUN),
        ({"parameters": {"task_id": 5}}, SPEC, "5"),
        ({"parameters": {}}, SPEC, RUN),
        (None, {}, RUN),
        (None, {"root": {"inputDefinitions": {"parameters": {"task_id": {"defaultValue": "baked-in"}}}}}, "baked-in"),
    ],
)
def test_a_runs_task_is_the_one_in_its_form_or_in_its_package_or_itself(
    kubeflow: AnsweringKubeflow, config: Any, spec: dict[str, Any], task: str
) -> None:
    kubeflow.versions["v1"] = spec
    kubeflow.add(runtime_config=config)

    assert kubeflow.connected().find(RUN).task_id == task


def test_a_run_whose_form_has_an_id_that_cannot_be_is_shown_all_the_same(
    kubeflow: AnsweringKubeflow, cloudedge: Cloudedge, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDEDGE_KUBEFLOW", kubeflow.url)
    kubeflow.add(runtime_config={"parameters": {"task_id": "My Bearings"}}, state="FAILED")

    assert cloudedge("status", RUN).out.startswith("Run of bearings: failed, since 2026-01-02 04:00:00 UTC")
    assert cloudedge("status", "My Bearings").code == 0


# Failures that Kubeflow knows of.


def test_a_driver_that_failed_is_its_tasks_failure_with_what_argo_said(kubeflow: AnsweringKubeflow) -> None:
    details = [
        node("pretrain"),
        node("pretrain-driver"),
        node("wait-driver", "FAILED"),
        node("wait", "RUNTIME_STATE_UNSPECIFIED"),
    ]
    kubeflow.add(state="FAILED", run_details={"task_details": details})
    prefix = {"type": "Pod", "phase": "Error"}
    nodes = [
        {**prefix, "name": "w-1(0).root(0).wait-driver(0)", "message": "pod deleted"},
        {
            **prefix,
            "name": "w-1(0).root(0).wait-driver(1)",
            "message": "Error (exit code 1): two tasks have the same task name",
        },
        {**prefix, "name": "w-1(0).root(0).wait-driver(2)", "phase": "Succeeded", "message": "nothing"},
        {"type": "DAG", "phase": "Failed", "name": "w-1(0).root(0)", "message": "child failed"},
    ]
    kubeflow.workflows[RUN] = {"status": {"nodes": {str(number): each for number, each in enumerate(nodes)}}}

    run = kubeflow.connected().find(RUN)

    assert rows(run)[2][:2] == ("Round 1: wait", "failed")
    assert str(failure(run, None)) == (
        "Kubeflow failed the run at Round 1: wait: Error (exit code 1): two tasks have the same task name. "
        f"More is in cloudedge logs {RUN}"
    )


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"error": {"code": 3, "message": "No such secret."}}, " at Pretrain: No such secret. More is in cloudedge logs"),
        (
            {"state_history": [{"error": {"message": "Old."}}, {"error": {"message": "New."}}, {}, None]},
            " at Pretrain: New. More is in cloudedge logs",
        ),
        ({"error": {"message": ""}, "state_history": None}, " at Pretrain, and no step could say why: cloudedge logs"),
    ],
)
def test_a_failed_task_has_kubeflows_own_words_where_its_api_has_some(
    kubeflow: AnsweringKubeflow, said: dict[str, Any], message: str
) -> None:
    kubeflow.add(state="FAILED", run_details={"task_details": [node("pretrain", "FAILED", **said), node("pretrain-driver")]})

    assert str(failure(kubeflow.connected().find(RUN), None)).startswith(f"Kubeflow failed the run{message}")


def test_a_run_that_failed_before_its_first_task_says_why(kubeflow: AnsweringKubeflow) -> None:
    kubeflow.add(state="FAILED", run_details={"task_details": [node("root-driver", "FAILED")]})
    pod = {"type": "Pod", "phase": "Failed", "name": "w-1(0).root-driver(0)", "message": "OOMKilled (exit code 137)"}
    kubeflow.workflows[RUN] = {"status": {"message": "No more retries left", "nodes": {"1": pod}}}
    client = kubeflow.connected()

    assert str(failure(client.find(RUN), None)).startswith("Kubeflow failed the run: OOMKilled (exit code 137). More is in")

    again = {"type": "Pod", "phase": "Error", "name": "w-1(0).root(0).pretrain(0).executor(0)", "message": "pod deleted"}
    kubeflow.workflows[RUN] = {"status": {"message": "Max duration limit exceeded", "nodes": {"1": again}}}
    assert str(failure(client.find(RUN), None)).startswith("Kubeflow failed the run: Max duration limit exceeded. More is in")


# After a termination, what edges do is what the store says.


def ended(cloud: Cloud, *, terminated: bool = True, began: datetime = BEGAN) -> str:
    answer = {
        "run_id": RUN,
        "state": "FAILED",
        "created_at": began,
        "runtime_config": {"parameters": {"task_id": "digits"}},
        "state_history": [{"state": "CANCELING"}] if terminated else [],
    }
    return str(failure(understood(answered(answer), SPEC, ""), cloud.run))


@pytest.mark.parametrize("terminated", [True, False], ids=["terminated in Kubeflow", "its pod was evicted"])
def test_after_a_step_that_was_ended_closed_its_orders_nobody_speaks_of_a_reaper(cloud: Cloud, terminated: bool) -> None:
    cloud.pretrained().dispatched()
    with pytest.raises(SystemExit), step("digits", "wait-1"):
        raise SystemExit(143)

    said = ended(cloud, terminated=terminated)

    assert said.startswith("The run was terminated in Kubeflow. " if terminated else "wait-1 was terminated. ")
    assert said.endswith(" Its edges have no order of it any more. Submitted again, it goes on where it was.")


def test_a_step_that_was_ended_too_fast_leaves_its_edges_to_the_reaper(cloud: Cloud) -> None:
    cloud.pretrained().dispatched()
    assert "stop when the reaper finds it, within minutes" in ended(cloud), "no step could write anything"

    set_state(cloud.run, RunState(state="stopped", message="wait-1 was terminated.", exit_code=130, at=datetime.now(UTC)))
    assert "stop when the reaper finds it, within minutes" in ended(cloud), "nor close its orders"


def test_what_ended_an_earlier_run_of_the_task_does_not_explain_this_one(cloud: Cloud) -> None:
    cloud.pretrained().dispatched()
    with pytest.raises(SystemExit), step("digits", "wait-1"):
        raise SystemExit(143)

    said = ended(cloud, terminated=False, began=datetime(2100, 1, 1, tzinfo=UTC))

    assert said.startswith("Kubeflow failed the run, and no step could say why")


# Whatever it answers.


def answered(said: dict[str, Any]) -> Any:
    """A run as kfp's client gives it."""
    api = kfp_server_api.ApiClient()
    response = type("Response", (), {"data": json.dumps(said, default=lambda at: at.isoformat())})
    return api.deserialize(response, "V2beta1Run")


TIMES = st.sampled_from(
    [
        "1970-01-01T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "2026-01-02T03:04:05Z",
        "2026-01-02T03:04:05",
        "9999-12-31T23:59:59Z",
        None,
    ]
)
STATES = st.sampled_from([*UNDER_WAY, "SUCCEEDED", "FAILED", "SKIPPED", "CANCELED", "CACHED", "OMITTED", "Error", "", None])
ERRORS = st.sampled_from([None, {}, {"message": None}, {"message": "No."}])
HISTORY = st.none() | st.lists(st.none() | st.fixed_dictionaries({}, optional={"state": STATES, "error": ERRORS}), max_size=2)
NAMES = st.sampled_from(
    ["root", "root-driver", "pretrain", "pretrain-driver", "pretrain(0)", "wait-driver", "-driver", "", None]
)
NODES = st.fixed_dictionaries(
    {},
    optional={
        "display_name": NAMES,
        "state": STATES,
        "start_time": TIMES,
        "end_time": TIMES,
        "error": ERRORS,
        "state_history": HISTORY,
    },
)
ODD: st.SearchStrategy[Any] = st.none() | st.booleans() | st.just(5) | st.just("x") | st.just([]) | st.just({})
TASKS = st.fixed_dictionaries(
    {},
    optional={
        "taskInfo": ODD | st.fixed_dictionaries({"name": ODD}),
        "dependentTasks": ODD | st.just(["wait"]) | st.just([None]),
    },
)
SPECS = st.sampled_from([{}, SPEC, {"pipeline_spec": SPEC}, {"pipeline_spec": None}, {"root": None}]) | st.builds(
    lambda tasks: {"root": {"dag": {"tasks": tasks}}}, ODD | st.dictionaries(st.sampled_from(["pretrain", "wait"]), ODD | TASKS)
)
RUNS = st.fixed_dictionaries(
    {"run_id": st.just(RUN)},
    optional={
        "display_name": st.none() | st.text(),
        "state": STATES,
        "created_at": TIMES,
        "scheduled_at": TIMES,
        "finished_at": TIMES,
        "error": ERRORS,
        "state_history": HISTORY,
        "recurring_run_id": st.just("r1"),
        "storage_state": st.just("ARCHIVED"),
        "runtime_config": st.none() | st.fixed_dictionaries({}, optional={"parameters": st.none() | st.just({"task_id": "a"})}),
        "run_details": st.none()
        | st.fixed_dictionaries({}, optional={"task_details": st.none() | st.lists(st.none() | NODES, max_size=4)}),
    },
)
WORKFLOWS = ODD | st.fixed_dictionaries(
    {
        "pipeline_runtime": ODD
        | st.fixed_dictionaries({"workflow_manifest": ODD | st.sampled_from(["{", "[]", '{"status": 5}'])})
    }
)


@given(said=RUNS, spec=SPECS, workflow=WORKFLOWS)
def test_any_answer_can_be_shown(said: dict[str, Any], spec: dict[str, Any], workflow: Any) -> None:
    run = explained(understood(answered(said), spec, "http://kubeflow"), workflow)

    assert len(rows(run)) == 1 + len(run.tasks)
    assert all(state for _, state, _ in rows(run))
    assert in_words(run.state)
    error = failure(run, None)
    assert error is None or run.over
    assert json.dumps(described(run, error), default=str)


def test_a_state_that_only_a_later_kubeflow_knows_is_over_when_it_has_an_end() -> None:
    running, over = (
        understood(answered({"run_id": RUN, "state": "EVALUATING_HOOKS", "finished_at": end}), SPEC, "")
        for end in ("1970-01-01T00:00:00Z", "2026-01-02T03:04:05Z")
    )

    assert (running.over, over.over) == (False, True)
    assert in_words(running.state) == "evaluating hooks"


def test_a_run_that_kubeflow_cannot_read_itself_is_said_to_be_one(kubeflow: AnsweringKubeflow) -> None:
    kubeflow.runs[RUN] = {"run_id": RUN, "experiment_id": "e1", "error": {"message": "Failed to parse the pipeline source"}}
    client = kubeflow.connected()

    with pytest.raises(StoreFailed, match="cannot read the run .*: Failed to parse the pipeline source"):
        client.find(RUN)
    with pytest.raises(NotFound):
        client.find("bearings")


@pytest.mark.parametrize("page", ["<!doctype html><title>Sign in</title>", '"run_id"', "[]", "null", "{}"])
def test_an_answer_that_is_none_of_kubeflows_is_a_failure_of_its_server(kubeflow: AnsweringKubeflow, page: str) -> None:
    kubeflow.add()
    client = kubeflow.connected()
    kubeflow.page = page

    for name in (RUN, "bearings"):
        with pytest.raises((StoreFailed, NotFound), match="its answer is none of Kubeflow|knows no run of 'bearings'"):
            client.find(name)


# The way to it.


def asked_of(address: str) -> str:
    with pytest.raises(CloudedgeError) as raised:
        Kubeflow(KubeflowSettings(kubeflow=address))
    return str(raised.value)


JSON = json.dumps({"error": "No.", "code": 7, "message": "No."})


@pytest.mark.parametrize(
    ("answer", "code", "told"),
    [
        (Answer(401, JSON), 2, "401, No. Set CLOUDEDGE_KUBEFLOW_TOKEN to a token that is valid."),
        (Answer(403, JSON), 2, "403, No. Name a namespace of yours: --namespace, or CLOUDEDGE_KUBEFLOW_NAMESPACE."),
        (Answer(404, JSON), 2, "404, No. Correct the address: in a whole Kubeflow it ends in /pipeline."),
        (Answer(400, JSON), 2, "400, No."),
        (
            Answer(400, JSON.replace("No.", "Give a namespace.")),
            2,
            "400, Give a namespace. In a Kubeflow of several users",
        ),
        (Answer(401, "<title>Sign in</title>", "text/html"), 2, "401, <title>Sign in</title>. Set CLOUDEDGE_KUBEFLOW_TOKEN"),
        (Answer(403, "RBAC: access denied", "text/plain"), 2, "403, RBAC: access denied. Set CLOUDEDGE_KUBEFLOW_TOKEN"),
        (Answer(404, "404 page not found", "text/plain"), 2, "404, 404 page not found. Correct the address: "),
        (
            Answer(400, "Client sent an HTTP request to an HTTPS server.", "text/plain"),
            2,
            "Correct the address: http:// or https",
        ),
        (Answer(502, "<title>Bad gateway</title>", "text/html"), 5, "502, <title>Bad gateway</title>. Check the address"),
        (
            Answer(200, "<title>Sign in</title>", "text/html"),
            2,
            "if this is the page to sign in, set CLOUDEDGE_KUBEFLOW_TOKEN.",
        ),
    ],
)
def test_who_refuses_is_answered_with_what_would_help(answer: Answer, code: int, told: str) -> None:
    with answering(lambda asked: answer) as server, pytest.raises(CloudedgeError) as raised:
        Kubeflow(KubeflowSettings(kubeflow=server.url))
    assert told in str(raised.value)
    assert raised.value.exit_code == code


HEALTHY = Answer(200, json.dumps({"multi_user": False}))


def test_what_stays_wrong_with_the_way_is_told_with_what_mends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path / "authority")
    for name in WAYS:
        monkeypatch.delenv(name, raising=False)
    with answering(lambda asked: HEALTHY, authority.server("127.0.0.1")) as server:
        told = asked_of(server.url)
        assert "trusted here. To trust it, name a file with its authority's certificate in SSL_CERT_FILE." in told

        monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
        Kubeflow(KubeflowSettings(kubeflow=server.url))

        told = asked_of(server.url.replace("127.0.0.1", "localhost"))
        assert "its certificate is for another name. Correct the address" in told

        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing"))
        assert asked_of(server.url).startswith(f"SSL_CERT_FILE names '{tmp_path / 'missing'}', which cannot be read: No such")
        monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.certificate))
        Kubeflow(KubeflowSettings(kubeflow=server.url))
        monkeypatch.delenv("AWS_CA_BUNDLE")

    monkeypatch.delenv("SSL_CERT_FILE")
    with answering(lambda asked: HEALTHY) as server:
        told = asked_of(server.url.replace("http", "https"))
        assert "it does not speak https at this port. Correct the address" in told
    assert "there is no host of this name. Correct the address" in asked_of("https://no-such-host.invalid")


@pytest.mark.parametrize(("error", "obstacle"), MET)
def test_all_that_stands_in_the_way_is_told_with_what_mends_it(
    monkeypatch: pytest.MonkeyPatch, error: Exception, obstacle: Obstacle
) -> None:
    def fails(*_: Any) -> None:
        raise error

    monkeypatch.setattr("pipelines.kubeflow.client._Client.get_kfp_healthz", fails)
    told = asked_of("https://one.example")
    assert f"Kubeflow at https://one.example cannot be asked: {obstacle.value}. " in told


def test_kubeflow_is_asked_over_the_proxy_that_the_environment_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path / "authority")
    for name in WAYS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    with answering(lambda asked: HEALTHY, authority.server("kubeflow.invalid")) as server, proxy(server) as between:
        monkeypatch.setenv("HTTPS_PROXY", between.url.replace("//", "//me:secret@"))
        Kubeflow(KubeflowSettings(kubeflow="https://kubeflow.invalid/pipeline"))
    assert (between.hosts, between.credentials) == (["kubeflow.invalid:443"], ["Basic bWU6c2VjcmV0"])
    assert {asked.path for asked in server.asked} == {"/pipeline/apis/v2beta1/healthz"}
