"""What the cluster holds of an edge: a ConfigMap, its inbox, and a Deployment, its runner, which is pinned to its node.

Both are plain objects that can be kept in git as well as applied. What the Deployment says, and why:

- It has no token of a service account: a pod with one does not start again when its node boots without the cloud.
- It tolerates every taint that a lost link brings, for ever: a runner works on while the cloud is away.
- It is replaced, never doubled: two runners on one state refuse each other.
- It is no root, its root file system is read-only, and it may write to its state and to memory alone.
- Its state lies on the node, as what edgecore mounts by itself does not outlive edgecore.
- It can be called by nobody; only where it is to serve a production line, its detectors reach it by ports of its node.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cloud.gpu import checked_gpu
from cloud.image import EDGE_IMAGE, checked_image
from cloud.inboxes.config_maps import EDGE_LABEL, empty_inbox, inbox_name, labels_of
from cloudedge.addresses import NODE_ADDRESS
from cloudedge.errors import InvalidInput
from cloudedge.names import checked_name

ACCOUNT = "cloudedge-runner"
"""It may do nothing, and no token of it reaches the pod."""

USER = 10001
"""The runner's user and group; the state and the samples on the node must be theirs to use."""

LINE_LABEL = "cloudedge.io/line"
"""Label of the pods that a production line's detectors call, which a network policy lets them."""

LINE_PORTS = ("detectors", "join", "page")
"""What a line's service listens for, at the port that is named and those after it."""

_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?")
_LAST_PORT = 65_535
_PATH = re.compile(r"(/[A-Za-z0-9._-]+)+")
_NODE = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


@dataclass(frozen=True)
class RunnerSpec:
    """How an edge's runner is to run.

    Attributes:
        edge: The edge's name.
        node: The KubeEdge node that it is.
        image: Image of the runner.
        state: Folder on the node for the runner's state.
        samples: Folder on the node where sensors put samples; empty: samples are only added by hand.
        memory: Most memory that the runner and its work may use.
        cpu: Most processors that they may use.
        gpu: Name of the node's GPUs of which they get one; empty: none.
        line: First of the ports of the node by which a production line reaches its service (`LINE_PORTS`); 0: there is none.
    """

    edge: str
    node: str
    image: str = EDGE_IMAGE
    state: str = "/var/lib/cloudedge"
    samples: str = ""
    memory: str = "2Gi"
    cpu: str = "2"
    gpu: str = ""
    line: int = 0

    def __post_init__(self) -> None:
        """Check what becomes part of a manifest.

        Raises:
            InvalidInput: something cannot be used; names it.
        """
        checked_name(self.edge, "an edge")
        checked_image(self.image, f"the edge {self.edge}")
        if self.gpu:
            checked_gpu(self.gpu, f"the edge {self.edge}")
        if self.line and not 1 <= self.line <= _LAST_PORT - len(LINE_PORTS) + 1:
            raise InvalidInput(
                f"{self.line} cannot be the port of the line at the edge {self.edge}: give one from 1 to "
                f"{_LAST_PORT - len(LINE_PORTS) + 1}, as those after it are used, too."
            )
        for what, value, pattern, wanted in (
            ("node", self.node, _NODE, "a node's name"),
            ("state", self.state, _PATH, "an absolute path"),
            ("samples", self.samples or "/-", _PATH, "an absolute path"),
            ("memory", self.memory, _QUANTITY, "a quantity such as 2Gi"),
            ("cpu", self.cpu, _QUANTITY, "a quantity such as 2 or 500m"),
        ):
            if not pattern.fullmatch(value) or ".." in value:
                raise InvalidInput(f"{value!r} cannot be the {what} of the edge {self.edge}: give {wanted}.")


def runner_name(edge: str) -> str:
    """Name of an edge's Deployment."""
    return f"cloudedge-runner-{edge}"


def _reached_by(ports: Mapping[str, int]) -> dict[str, Any]:
    """A container's ports, which are ports of its node, too; and whose they are, for what it tells of them."""
    node = {"name": NODE_ADDRESS, "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}}
    return {"ports": [{"name": n, "containerPort": port, "hostPort": port} for n, port in ports.items()], "env": [node]}


def objects(runner: RunnerSpec, namespace: str) -> list[dict[str, Any]]:
    """The two objects of an edge; the ConfigMap as it is at first, to be made once and never replaced."""
    return [empty_inbox(runner.edge, namespace), deployment(runner, namespace)]


def deployment(runner: RunnerSpec, namespace: str) -> dict[str, Any]:
    """The Deployment of an edge's runner."""
    labels = labels_of(runner.edge, "runner")
    command = ["cloudedge-edge", "run", "--inbox", "/inbox", "--state", "/state"]
    mounts = [
        {"name": "inbox", "mountPath": "/inbox", "readOnly": True},
        {"name": "state", "mountPath": "/state"},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
    ]
    volumes: list[dict[str, Any]] = [
        {"name": "inbox", "configMap": {"name": inbox_name(runner.edge)}},
        {"name": "state", "hostPath": {"path": runner.state, "type": "Directory"}},
        {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
    ]
    if runner.samples:
        command += ["--samples", "/samples"]
        mounts.append({"name": "samples", "mountPath": "/samples", "readOnly": True})
        volumes.append({"name": "samples", "hostPath": {"path": runner.samples, "type": "Directory"}})
    ports = {name: runner.line + number for number, name in enumerate(LINE_PORTS)} if runner.line else {}
    if ports:
        command += ["--line", f"0.0.0.0:{runner.line}"]
    container = {
        "name": "runner",
        "image": runner.image,
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        **(_reached_by(ports) if ports else {}),
        "volumeMounts": mounts,
        "resources": {
            "requests": {"cpu": "50m", "memory": "64Mi"},
            "limits": {"cpu": runner.cpu, "memory": runner.memory, **({runner.gpu: "1"} if runner.gpu else {})},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    pod = {
        "serviceAccountName": ACCOUNT,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "nodeSelector": {"kubernetes.io/hostname": runner.node},
        "tolerations": [
            {"key": "node-role.kubernetes.io/edge", "operator": "Exists"},
            {"operator": "Exists", "effect": "NoExecute"},
            {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoSchedule"},
            {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoSchedule"},
        ],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": 30,
        "containers": [container],
        "volumes": volumes,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": runner_name(runner.edge), "namespace": namespace, "labels": labels},
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 2,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {EDGE_LABEL: runner.edge, "app.kubernetes.io/component": "runner"}},
            "template": {"metadata": {"labels": {**labels, **({LINE_LABEL: "yes"} if ports else {})}}, "spec": pod},
        },
    }
