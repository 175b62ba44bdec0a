"""KubeEdge: cloudcore in the cloud, and machines with edgecore at the edge."""

import base64
import json
import os
import signal
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client, utils
from kubernetes.client.exceptions import ApiException

from tests.cluster.control_plane import ControlPlane
from tests.cluster.machine import PAUSE, Machine, children, program_of
from tests.cluster.network import Network
from tests.cluster.processes import Server, free_port
from tests.cluster.tools import beside, program
from tests.waiting import until


class CloudCore:
    """KubeEdge's part in the cloud."""

    def __init__(self, folder: Path, control_plane: ControlPlane, address: str) -> None:
        """Prepare it for edges that reach the cloud at an address."""
        self.control_plane = control_plane
        self.join_url = f"https://{address}:{free_port(address)}"
        self.websocket = f"{address}:{free_port(address)}"
        keys = {"CAFile": "ca.crt", "CAKeyFile": "ca.key", "CertFile": "server.crt", "PrivateKeyFile": "server.key"}
        hub = {
            "advertiseAddress": [address],
            "nodeLimit": 100,
            "keepaliveInterval": 15,
            "https": {"enable": True, "address": address, "port": int(self.join_url.rpartition(":")[2])},
            "websocket": {"enable": True, "address": address, "port": int(self.websocket.rpartition(":")[2])},
            **{f"tls{name}": str(folder / file) for name, file in keys.items()},
        }
        off: dict[str, Any] = {"enable": False}
        configuration = {
            "apiVersion": "cloudcore.config.kubeedge.io/v1alpha1",
            "kind": "CloudCore",
            "commonConfig": {"monitorServer": {"bindAddress": f"127.0.0.1:{free_port()}"}},
            "kubeAPIConfig": {"kubeConfig": str(control_plane.kubeconfig)},
            "modules": {"cloudHub": hub, "cloudStream": off, "iptablesManager": off, "router": off, "taskManager": off},
        }
        (folder / "cloudcore.json").write_text(json.dumps(configuration))
        self._server = Server([program("cloudcore"), "--config", folder / "cloudcore.json"], folder / "cloudcore.log")
        self.token = ""

    def start(self) -> None:
        """Start it, or start it again."""
        api = self.control_plane.client()
        for path in sorted(beside("cloudcore").rglob("*.yaml")):
            for definition in yaml.safe_load_all(path.read_text()):
                if definition:
                    _made_once(lambda definition=definition: utils.create_from_dict(api, definition))
        core = client.CoreV1Api(api)
        _made_once(lambda: core.create_namespace({"metadata": {"name": "kubeedge"}}))
        self._server.start(self._has_token)

    def kill(self) -> None:
        """As a crash would."""
        self._server.kill()

    def stop(self) -> None:
        """End it."""
        self._server.stop()

    def _has_token(self) -> bool:
        try:
            secret = client.CoreV1Api(self.control_plane.client()).read_namespaced_secret("tokensecret", "kubeedge")
        except ApiException:
            return False
        self.token = base64.b64decode(secret.data["tokendata"]).decode()
        return True


class EdgeNode(Machine):
    """A machine at the edge."""

    def __init__(self, folder: Path, number: int, network: Network, cloud: CloudCore, sync: str) -> None:
        """Install one; see `Machine`.

        Args:
            folder: What it keeps.
            number: Of the machine.
            network: Its way to the cloud.
            cloud: Whom it joins.
            sync: How often it looks, by itself, whether what its pods have mounted has changed: KubeEdge's `syncFrequency`.
        """
        agent = (program("edgecore"), "--config", folder / "edgecore.json")
        super().__init__(f"edge-{number}", folder, number, network, cloud.control_plane, agent)
        self._cloud = cloud
        self.look_every(sync)

    def look_every(self, sync: str) -> None:
        """Have it look, from the next start of edgecore on, this often at what its pods have mounted; see `__init__`."""
        (self._folder / "edgecore.json").write_text(json.dumps(self._edgecore(sync)))

    def kill_edgecore(self) -> None:
        """As a crash would; it starts again at once, and the pods live on."""
        before = self._edgecore_pid()
        os.kill(before, signal.SIGKILL)
        until(lambda: self._edgecore_pid() not in {before, 0}, what="edgecore's restart")

    def log(self) -> str:
        """What its agent said last."""
        return (self._folder / "log" / "agent.log").read_text(errors="replace")[-4000:]

    def _edgecore_pid(self) -> int:
        found = [pid for pid in children(self.init) if program_of(pid) == "edgecore"]
        return found[0] if found else 0

    def _edgecore(self, sync: str) -> dict[str, Any]:
        home = "/var/lib/kubeedge"
        hub = {
            "heartbeat": 5,
            "token": self._cloud.token,
            "httpServer": self._cloud.join_url,
            "tlsCaFile": f"{home}/ca.crt",
            "tlsCertFile": f"{home}/server.crt",
            "tlsPrivateKeyFile": f"{home}/server.key",
            "websocket": {
                "enable": True,
                "server": self._cloud.websocket,
                "handshakeTimeout": 30,
                "readDeadline": 15,
                "writeDeadline": 15,
            },
        }
        edged = {
            "enable": True,
            "hostnameOverride": self.name,
            "nodeIP": self._network.node(self._number),
            "registerNodeNamespace": "default",
            "rootDirectory": "/var/lib/kubelet",
            "podSandboxImage": PAUSE,
            "tailoredKubeletConfig": {**self.kubelet, "address": "127.0.0.1", "syncFrequency": sync},
        }
        off: dict[str, Any] = {"enable": False}
        return {
            "apiVersion": "edgecore.config.kubeedge.io/v1alpha2",
            "kind": "EdgeCore",
            "database": {"dataSource": f"{home}/edgecore.db"},
            "modules": {
                "edgeHub": {"enable": True, **hub, "quic": off},
                "edged": edged,
                "metaManager": {"enable": True, "metaServer": off},
                "deviceTwin": {"enable": True},
                "eventBus": off,
                "serviceBus": off,
                "edgeStream": off,
                "taskManager": off,
            },
        }


def _made_once(make: Any) -> None:
    try:
        make()
    except utils.FailToCreateError as error:
        if any(each.status != 409 for each in error.api_exceptions):
            raise
    except ApiException as error:
        if error.status != 409:
            raise
