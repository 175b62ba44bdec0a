"""A real Kubeflow Pipelines API server with a database of its own; what it is given becomes a Workflow in the cluster.

By itself nothing runs the Workflow's pods: what Argo and Kubeflow's agent say of a Workflow, a test can say. `argo` has both.
It is Kubeflow Pipelines 2.0.5, the last that builds from published Go modules alone.
"""

import json
import os
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from kubernetes import client

from tests.cluster.control_plane import ControlPlane
from tests.cluster.object_store import MinioServer
from tests.cluster.processes import Server, free_port
from tests.cluster.tools import program
from tests.waiting import until

NAMESPACE = "kubeflow"
"""Where Kubeflow's runs live."""

_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

_IN_A_POD = """
mount -t tmpfs none /run
mkdir -p /run/secrets/kubernetes.io/serviceaccount /run/secrets/kubeflow/tokens
cp "$TOKEN" /run/secrets/kubernetes.io/serviceaccount/token
cp "$TOKEN" /run/secrets/kubeflow/tokens/persistenceagent-sa-token
cp "$AUTHORITY" /run/secrets/kubernetes.io/serviceaccount/ca.crt
exec "$@"
"""
"""It takes its cluster from where a pod has it, and from nowhere else; nobody but this process sees these files."""


class KubeflowServer:
    """The API server, and the MariaDB that it keeps its runs in."""

    def __init__(
        self, folder: Path, control_plane: ControlPlane, minio: MinioServer, *, multi_user: bool = False, pods_image: str = ""
    ) -> None:
        """Prepare both.

        Args:
            folder: For all that they write.
            control_plane: Where runs become Workflows.
            minio: Where pipelines are kept.
            multi_user: Whether it asks the cluster who may do what in which namespace, as a whole Kubeflow does.
            pods_image: The image of driver and launcher, in which runs' pods begin.
        """
        folder.mkdir(parents=True)
        self.control_plane = control_plane
        self.multi_user = multi_user
        self.url = f"http://127.0.0.1:{free_port()}"
        self.rpc_port = free_port()
        self._pods_image = pods_image
        port = free_port()
        self._database = _database(folder, port)
        self._api_server = self._prepared(folder, minio, port)

    def start(self) -> None:
        """Start it, with the kinds of objects that it makes known to the cluster."""
        for group, kind, version in (("argoproj.io", "Workflow", "v1alpha1"), ("kubeflow.org", "ScheduledWorkflow", "v1beta1")):
            _make_known(self.control_plane, group, kind, version)
        core = client.CoreV1Api(self.control_plane.client())
        if NAMESPACE not in {found.metadata.name for found in core.list_namespace().items}:
            core.create_namespace({"metadata": {"name": NAMESPACE}})
        self._database.start(lambda: True)
        self._api_server.start(self._ready)

    def stop(self) -> None:
        """End everything."""
        self._api_server.stop()
        self._database.stop()

    def workflows(self, namespace: str = NAMESPACE) -> list[dict[str, Any]]:
        """What Argo would run there."""
        objects = client.CustomObjectsApi(self.control_plane.client())
        found = objects.list_namespaced_custom_object("argoproj.io", "v1alpha1", namespace, "workflows")
        return list(found["items"])

    def workflow(self, run_id: str) -> dict[str, Any]:
        """The Workflow of one run."""
        (found,) = [each for each in self.workflows() if each["metadata"]["labels"]["pipeline/runid"] == run_id]
        return found

    def report(self, run_id: str, phase: str, *, broken_driver: str = "", **tasks: str) -> None:
        """Say of a run what Argo would write into its Workflow, and Kubeflow's agent would then report.

        Nodes are named as Argo names them where it may try each again, as Kubeflow's manifests have it.

        Args:
            run_id: Kubeflow's id of the run.
            phase: Argo's word for the whole.
            broken_driver: What Argo says of the driver of the one task that is omitted, if that could not be prepared.
            tasks: Argo's word for each task that has begun; each began 65 s before it was over.
        """
        workflow = self.workflow(run_id)
        name = workflow["metadata"]["name"]
        over = ("Succeeded", "Failed", "Omitted")
        nodes: dict[str, Any] = {}
        for task, its in tasks.items():
            key = task.replace("_", "-")
            of_driver = its if its == "Omitted" else "Succeeded"
            said = {}
            if its == "Omitted" and broken_driver:
                of_driver, said = "Failed", {"message": broken_driver}
            for inner, state, kind in ((key, its, "DAG"), (f"{key}-driver", of_driver, "Pod")):
                times = {
                    "startedAt": "2026-01-02T03:00:00Z",
                    **({"finishedAt": "2026-01-02T03:01:05Z"} if state in over else {}),
                }
                for shown, what in ((inner, "Retry"), (f"{inner}(0)", kind)):
                    node = {
                        "id": shown,
                        "name": f"{name}(0).root(0).{shown}",
                        "displayName": shown,
                        "type": what,
                        "phase": state,
                    }
                    nodes[shown] = {**node, **times, **(said if inner != key else {})}
        ended = {"finishedAt": "2026-01-02T03:05:00Z"} if phase in over else {}
        workflow["status"] = {"phase": phase, "startedAt": "2026-01-02T03:00:00Z", **ended, "nodes": nodes}
        body = json.dumps(json.dumps(workflow)).encode()
        request = urllib.request.Request(f"{self.url}/apis/v1beta1/workflows", body, {"Content-Type": "application/json"})
        with _open(request, timeout=100):
            pass

    def _prepared(self, folder: Path, minio: MinioServer, port: int) -> Server:
        host, minio_port = minio.endpoint.split(":")
        configuration = {
            "DBConfig": {
                "MySQLConfig": {
                    "Host": "127.0.0.1",
                    "Port": str(port),
                    "User": "root",
                    "DBName": "mlpipeline",
                    "GroupConcatMaxLen": "4194304",
                },
                "ConMaxLifeTime": "120s",
            },
            "DBDriverName": "mysql",
            "ObjectStoreConfig": {
                "Host": host,
                "Port": minio_port,
                "Region": "us-east-1",
                "AccessKey": minio.root.access_key,
                "SecretAccessKey": minio.root.secret_key,
                "BucketName": minio.bucket(),
                "PipelinePath": "pipelines",
            },
            "InitConnectionTimeout": "1m",
            "DEFAULTPIPELINERUNNERSERVICEACCOUNT": "pipeline-runner",
            "CacheEnabled": "true",
            "ML_PIPELINE_VISUALIZATIONSERVER_SERVICE_HOST": "127.0.0.1",
            "ML_PIPELINE_VISUALIZATIONSERVER_SERVICE_PORT": "1",
        }
        (folder / "config.json").write_text(json.dumps(configuration))
        (folder / "samples.json").write_text("[]")
        return Server(
            in_a_pod(
                program("kubeflow-pipelines"),
                f"-config={folder}",
                f"-sampleconfig={folder / 'samples.json'}",
                f"-httpPortFlag=:{self.url.rpartition(':')[2]}",
                f"-rpcPortFlag=:{self.rpc_port}",
                "-logtostderr",
            ),
            folder / "kubeflow.log",
            {
                **pods_environment(self.control_plane, folder),
                "POD_NAMESPACE": NAMESPACE,
                "MULTIUSER": str(self.multi_user).lower(),
                "V2_DRIVER_IMAGE": self._pods_image,
                "V2_LAUNCHER_IMAGE": self._pods_image,
            },
        )

    def _ready(self) -> bool:
        return all(map(self._answers, ("v2beta1/experiments", "v2beta1/pipelines", "v2beta1/runs", "v1beta1/workflows")))

    def _answers(self, service: str) -> bool:
        """Whether one of its services does, if only that the question is none.

        To each it has a connection of its own. One that it tried before the service was there it tries again after ever longer
        pauses, and answers 503 until then.
        """
        content = b'""' if service.endswith("workflows") else None  # There is nothing to read.
        try:
            with _open(f"{self.url}/apis/{service}", content, timeout=10):
                return True
        except urllib.error.HTTPError as refusal:
            return refusal.code != 503
        except OSError:
            return False


def in_a_pod(*command: str | Path) -> list[str | Path]:
    """A command as it runs in a pod; see `pods_environment`."""
    return ["unshare", "--user", "--map-root-user", "--mount", "sh", "-euc", _IN_A_POD, "sh", *command]


def pods_environment(control_plane: ControlPlane, folder: Path) -> dict[str, str]:
    """Where such a command finds the cluster, as its administrator; a file of it is put into a folder."""
    kubeconfig = json.loads(control_plane.kubeconfig.read_text())
    (folder / "token").write_text(kubeconfig["users"][0]["user"]["token"])
    host, _, port = control_plane.url.removeprefix("https://").partition(":")
    return {
        "TOKEN": str(folder / "token"),
        "AUTHORITY": kubeconfig["clusters"][0]["cluster"]["certificate-authority"],
        "KUBERNETES_SERVICE_HOST": host,
        "KUBERNETES_SERVICE_PORT": port,
    }


def _database(folder: Path, port: int) -> Server:
    data, temporary = folder / "mariadb", folder / "temporary"
    temporary.mkdir()
    # Each server begins by removing what it finds of temporary tables: another one's, too, were they all in one folder.
    own = {"TMPDIR": str(temporary)}
    command = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal"]
    done = subprocess.run(command, env={**os.environ, **own}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    where = (f"--datadir={data}", "--bind-address=127.0.0.1", f"--port={port}", f"--socket={data / 'socket'}")
    return Server(["mariadbd", "--no-defaults", "--user=root", *where], folder / "mariadb.log", own)


def _make_known(control_plane: ControlPlane, group: str, kind: str, version: str) -> None:
    """Tell the cluster of a kind of objects whose content is nobody's business but its controller's."""
    names = {"kind": kind, "plural": f"{kind.lower()}s", "singular": kind.lower()}
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": free, "status": free}}}
    spec = {
        "group": group,
        "scope": "Namespaced",
        "names": names,
        "versions": [{"name": version, "served": True, "storage": True, "schema": schema}],
    }
    definitions = client.ApiextensionsV1Api(control_plane.client())
    name = f"{names['plural']}.{group}"
    if name not in {found.metadata.name for found in definitions.list_custom_resource_definition().items}:
        definitions.create_custom_resource_definition({"metadata": {"name": name}, "spec": spec})
    until(lambda: _established(definitions.read_custom_resource_definition_status(name)), what=f"{name} known")


def _established(definition: Any) -> bool:
    return any(each.type == "Established" and each.status == "True" for each in definition.status.conditions or ())
