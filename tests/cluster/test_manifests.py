"""The manifests, applied to a real API server, and what each account may do there and what not."""

import itertools
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from cloud.cluster.api import Namespace
from cloud.faults import Faults
from cloud.fleet.enrolment import RunnerSpec, objects, runner_name
from cloud.fleet.fleet import Fleet
from cloud.inboxes.config_maps import NUDGE_ANNOTATION, ConfigMapInboxes, inbox_name, labels_of
from tests.cloud.inboxes.conformance import adding
from tests.cloud.runs.builders import order
from tests.cluster.control_plane import ControlPlane
from tests.cluster.tools import program
from tests.waiting import until

MANIFESTS = Path(__file__).parents[2] / "manifests"
EDGES = "cloudedge-edges"
EDGE = "gatehouse"  # No other test's, as they may share the cluster.


@pytest.fixture(scope="module")
def applied(control_plane: ControlPlane) -> ControlPlane:
    """The base, applied, and heeded: an API server takes a moment for a new policy."""
    kubectl(control_plane, "apply", "-k", str(MANIFESTS / "base"))
    admin, steps = core(control_plane), core(control_plane, ("cloudedge", "cloudedge-pipeline"))
    admin.create_namespaced_config_map(EDGES, {"metadata": {"name": "probe"}})
    until(
        lambda: forbidden(steps.patch_namespaced_config_map, "probe", EDGES, {"data": {"a": "b"}}), what="the policy's effect"
    )
    return control_plane


def kubectl(control_plane: ControlPlane, *arguments: str) -> str:
    command = [str(program("kubectl")), "--kubeconfig", str(control_plane.kubeconfig), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def core(control_plane: ControlPlane, account: tuple[str, str] | None = None) -> client.CoreV1Api:
    return client.CoreV1Api(control_plane.client(control_plane.account(*account) if account else None))


@pytest.fixture
def pipeline(applied: ControlPlane) -> client.CoreV1Api:
    """What pipeline steps may do."""
    return core(applied, ("cloudedge", "cloudedge-pipeline"))


@pytest.fixture
def edge(applied: ControlPlane) -> str:
    """An enrolled edge, whose runner's pod the controllers have made."""
    Fleet(Namespace(EDGES, applied.client(), 30)).enroll(RunnerSpec(EDGE, "node-1"))
    until(lambda: runner_pods(applied), what="the runner's pod")
    return EDGE


def runner_pods(control_plane: ControlPlane) -> list[Any]:
    selector = f"app.kubernetes.io/component=runner,cloudedge.io/edge={EDGE}"
    pods: list[Any] = core(control_plane).list_namespaced_pod(EDGES, label_selector=selector).items
    return pods


def there(create: Callable[..., object], *arguments: object) -> None:
    """Create what another test may have created already."""
    try:
        create(*arguments)
    except ApiException as error:
        assert error.status == 409


def forbidden(action: Callable[..., object], *arguments: object) -> bool:
    """Whether the API server refuses."""
    try:
        action(*arguments)
    except ApiException as error:
        return bool(error.status in (403, 422))
    return False


def refused(action: Callable[..., object], *arguments: object) -> str:
    """Why the API server refuses."""
    with pytest.raises(ApiException) as raised:
        action(*arguments)
    assert raised.value.status in (403, 422)
    return str(json.loads(raised.value.body)["message"])


def test_the_base_is_applied_again_without_a_change(applied: ControlPlane) -> None:
    again = kubectl(applied, "apply", "-k", str(MANIFESTS / "base"))
    assert again
    assert all(line.endswith("unchanged") for line in again.splitlines()), again


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    """A copy, with the files that an administrator writes."""
    copy = tmp_path / "manifests"
    shutil.copytree(MANIFESTS, copy)
    for overlay in ("standalone", "kubeflow"):
        (copy / "overlays" / overlay / "store.env").write_text("AWS_ACCESS_KEY_ID=pipeline\nAWS_SECRET_ACCESS_KEY=12345678\n")
    (copy / "overlays" / "standalone" / "minio.env").write_text("MINIO_ROOT_USER=root\nMINIO_ROOT_PASSWORD=12345678\n")
    return copy


def test_the_standalone_overlay_brings_a_store_and_mlflow(applied: ControlPlane, manifests: Path) -> None:
    overlay = str(manifests / "overlays" / "standalone")
    kubectl(applied, "apply", "-k", overlay)
    again = kubectl(applied, "apply", "-k", overlay)
    assert all(line.endswith("unchanged") for line in again.splitlines()), again
    found = core(applied).read_namespaced_config_map("cloudedge-settings", "cloudedge").data
    assert found["CLOUDEDGE_INBOXES"] == "configmaps://cloudedge-edges"
    assert found["CLOUDEDGE_STORE"].startswith("http://minio.")
    # The namespace takes only restricted pods, so what is made is one.
    for selector in ("app.kubernetes.io/name=minio", "app.kubernetes.io/name=mlflow", "job-name=cloudedge-prepare-store"):
        until(lambda selector=selector: core(applied).list_namespaced_pod("cloudedge", label_selector=selector).items)  # type: ignore[misc]


def test_the_kubeflow_overlay_lets_kubeflows_steps_dispatch(applied: ControlPlane, manifests: Path, edge: str) -> None:
    admin = core(applied)
    there(admin.create_namespace, {"metadata": {"name": "kubeflow"}})
    there(admin.create_namespaced_service_account, "kubeflow", {"metadata": {"name": "pipeline-runner"}})
    kubectl(applied, "apply", "-k", str(manifests / "overlays" / "kubeflow"))
    account = applied.client(applied.account("kubeflow", "pipeline-runner"))
    ConfigMapInboxes(Namespace(EDGES, account, 30)).update(edge, adding(order("flow", edge)))
    (pod,) = runner_pods(applied)
    image = {"spec": {"containers": [{"name": "runner", "image": "evil"}]}}
    numbers = itertools.count()

    def heeded() -> bool:
        labels = {"metadata": {"labels": {"probe": str(next(numbers))}}}
        return forbidden(steps.patch_namespaced_pod, pod.metadata.name, EDGES, labels)

    steps = client.CoreV1Api(account)
    # The API server takes a moment to heed a policy that has changed.
    until(heeded, what="the policy's effect")
    assert "nothing else" in refused(steps.patch_namespaced_pod, pod.metadata.name, EDGES, image)
    for elsewhere in ("cloudedge", "default", "kube-system"):
        assert "cannot list" in refused(steps.list_namespaced_secret, elsewhere)
        assert "cannot list" in refused(steps.list_namespaced_config_map, elsewhere)
    assert "cannot list" in refused(steps.list_namespaced_secret, EDGES)
    for kind in ("config_map", "secret"):
        name = {"config_map": "cloudedge-settings", "secret": "cloudedge-store"}[kind]
        assert getattr(admin, f"read_namespaced_{kind}")(name, "kubeflow").data


def test_what_steps_are_given_is_what_packages_ask_for(applied: ControlPlane, manifests: Path) -> None:
    from pipelines.dag import CREDENTIALS, SETTINGS

    for overlay in ("standalone", "kubeflow"):
        rendered = subprocess.run(
            [program("kubectl"), "kustomize", str(manifests / "overlays" / overlay)], capture_output=True, text=True, check=True
        )
        documents = list(yaml.safe_load_all(rendered.stdout))
        kinds = {(document["kind"], document["metadata"]["name"]) for document in documents}
        assert {("ConfigMap", SETTINGS), ("Secret", CREDENTIALS)} <= kinds


def test_the_pipeline_dispatches_and_nudges(applied: ControlPlane, edge: str) -> None:
    account = applied.client(applied.account("cloudedge", "cloudedge-pipeline"))
    ConfigMapInboxes(Namespace(EDGES, account, 30)).update(edge, adding(order("run", edge)))
    (pod,) = runner_pods(applied)
    assert NUDGE_ANNOTATION in pod.metadata.annotations


def test_the_pipeline_sees_which_inboxes_have_arrived_and_changes_nothing_there(applied: ControlPlane) -> None:
    rights = client.AuthorizationV1Api(applied.client(applied.account("cloudedge", "cloudedge-pipeline")))
    what = {"group": "reliablesyncs.kubeedge.io", "resource": "objectsyncs"}

    def may(verb: str, namespace: str) -> bool:
        asked = {"spec": {"resourceAttributes": {**what, "verb": verb, "namespace": namespace}}}
        return bool(rights.create_self_subject_access_review(asked).status.allowed)

    assert [may(verb, EDGES) for verb in ("list", "watch")] == [True, True]
    assert [may(verb, EDGES) for verb in ("create", "update", "patch", "delete")] == [False] * 4
    assert not may("list", "default")


def test_the_pipeline_may_do_nothing_else(applied: ControlPlane, pipeline: client.CoreV1Api, edge: str) -> None:
    admin = core(applied)
    admin.create_namespaced_secret(EDGES, {"metadata": {"name": "secret"}})
    admin.create_namespaced_config_map(EDGES, {"metadata": {"name": "other"}, "data": {"a": "b"}})
    (pod,) = runner_pods(applied)
    name, inbox = pod.metadata.name, inbox_name(edge)
    image = {"spec": {"containers": [{"name": "runner", "image": "evil"}]}}
    changed = {"data": {"a": "c"}}
    labels = {"metadata": {"labels": {"cloudedge.io/edge": "edge-2"}}}

    assert "annotations of a runner's pod, nothing else" in refused(pipeline.patch_namespaced_pod, name, EDGES, image)
    assert "no labels" in refused(pipeline.patch_namespaced_pod, name, EDGES, labels)
    assert "no labels" in refused(pipeline.patch_namespaced_config_map, inbox, EDGES, labels)
    assert "no other ConfigMap" in refused(pipeline.patch_namespaced_config_map, "other", EDGES, changed)
    assert "cannot create" in refused(pipeline.create_namespaced_config_map, EDGES, {"metadata": {"name": "new"}})
    assert "cannot delete" in refused(pipeline.delete_namespaced_config_map, inbox, EDGES)
    assert "cannot delete" in refused(pipeline.delete_namespaced_pod, name, EDGES)
    assert "cannot create" in refused(pipeline.create_namespaced_pod, EDGES, {"metadata": {"name": "new"}})
    assert "cannot get" in refused(pipeline.read_namespaced_secret, "secret", EDGES)
    assert "cannot list" in refused(pipeline.list_namespaced_secret, "cloudedge")
    assert "cannot list" in refused(pipeline.list_namespaced_config_map, "cloudedge")
    assert "cannot list" in refused(pipeline.list_namespaced_config_map, "default")
    assert "cannot list" in refused(pipeline.list_namespaced_secret, "kube-system")
    assert "cannot list" in refused(pipeline.list_config_map_for_all_namespaces)
    assert "cannot list" in refused(pipeline.list_node)
    apps = client.AppsV1Api(pipeline.api_client)
    assert "cannot list" in refused(apps.list_namespaced_deployment, EDGES)


def test_a_runner_has_no_token_and_its_account_no_right(applied: ControlPlane, edge: str) -> None:
    (pod,) = runner_pods(applied)
    assert pod.spec.automount_service_account_token is False
    assert not [volume for volume in pod.spec.volumes if volume.projected]
    # Even with its account's token, which it does not get, it could do nothing.
    account = core(applied, (EDGES, "cloudedge-runner"))
    assert "cannot list" in refused(account.list_namespaced_config_map, EDGES)
    assert "cannot get" in refused(account.read_namespaced_config_map, inbox_name(edge), EDGES)
    assert "cannot list" in refused(account.list_namespaced_pod, EDGES)


def test_whoever_enrolls_needs_just_that_role(applied: ControlPlane) -> None:
    namespace = "cloudedge-edges"
    admin = core(applied)
    admin.create_namespaced_service_account(namespace, {"metadata": {"name": "engineer"}})
    rights = client.RbacAuthorizationV1Api(applied.client())
    subject = {"kind": "ServiceAccount", "name": "engineer", "namespace": namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "cloudedge-enrolment"}
    rights.create_namespaced_role_binding(namespace, {"metadata": {"name": "it"}, "roleRef": role, "subjects": [subject]})
    everywhere = {**role, "kind": "ClusterRole", "name": "cloudedge-nodes"}
    rights.create_cluster_role_binding({"metadata": {"name": "it"}, "roleRef": everywhere, "subjects": [subject]})
    fleet = Fleet(Namespace(namespace, applied.client(applied.account(namespace, "engineer")), 30))
    fleet.enroll(RunnerSpec("edge-7", "node-7"))
    fleet.enroll(RunnerSpec("edge-7", "node-7", memory="3Gi"))
    assert "edge-7" in [edge.name for edge in fleet.edges(Faults())]
    fleet.remove("edge-7")
    assert "edge-7" not in [edge.name for edge in fleet.edges(Faults())]


def test_what_is_kept_in_git_is_what_enrolment_applies(applied: ControlPlane, tmp_path: Path) -> None:
    runner = RunnerSpec("edge-8", "node-8", samples="/var/lib/samples")
    path = tmp_path / "edge-8.yaml"
    path.write_text(yaml.safe_dump_all(objects(runner, EDGES)))
    kubectl(applied, "apply", "-f", str(path))
    Fleet(Namespace(EDGES, applied.client(), 30)).enroll(runner)
    difference = kubectl(applied, "diff", "-f", str(path))
    assert difference == ""
    found = client.AppsV1Api(applied.client()).read_namespaced_deployment(runner_name("edge-8"), EDGES)
    assert found.metadata.labels == labels_of("edge-8", "runner")


def test_what_the_clouds_namespace_runs_is_restricted(applied: ControlPlane) -> None:
    pod = {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "a", "image": "b"}], "hostNetwork": True}}
    assert "violates PodSecurity" in refused(core(applied).create_namespaced_pod, "cloudedge", pod)
    reaper = client.BatchV1Api(applied.client()).read_namespaced_cron_job("cloudedge-reaper", "cloudedge")
    job = reaper.spec.job_template
    made = {"metadata": {"name": "reaped"}, "spec": applied.client().sanitize_for_serialization(job.spec)}
    client.BatchV1Api(applied.client()).create_namespaced_job("cloudedge", made)
    pods = core(applied)
    until(lambda: pods.list_namespaced_pod("cloudedge", label_selector="job-name=reaped").items, what="the reaper's pod")
