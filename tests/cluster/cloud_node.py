"""A node in the cloud, for the pods of pipelines: a machine with a kubelet and a kube-proxy."""

import json
from pathlib import Path

from tests.cluster.control_plane import ControlPlane
from tests.cluster.machine import Machine
from tests.cluster.network import Network
from tests.cluster.processes import Server
from tests.cluster.tools import program


class CloudNode(Machine):
    """A machine of the cloud."""

    def __init__(self, folder: Path, number: int, network: Network, control_plane: ControlPlane) -> None:
        """Install one; see `Machine`."""
        agent = (
            program("kubelet"),
            f"--kubeconfig={control_plane.kubeconfig}",
            f"--config={folder / 'kubelet.json'}",
            "--hostname-override=cloud",
            f"--node-ip={network.node(number)}",
        )
        super().__init__("cloud", folder, number, network, control_plane, agent)
        self._proxy: Server | None = None
        configuration = {
            **self.kubelet,
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            # It can be reached from this machine only.
            "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"},
            "failCgroupV1": False,
            "resolvConf": "",
        }
        (folder / "kubelet.json").write_text(json.dumps(configuration))

    def start(self) -> None:
        """See `Machine.start`; the cluster's services have their addresses here too."""
        super().start()
        inside = ("nsenter", f"--target={self.init}", "--net", "--mount", "--")
        options = [
            f"--kubeconfig={self._control_plane.kubeconfig}",
            f"--hostname-override={self.name}",
            "--proxy-mode=iptables",
            "--conntrack-max-per-core=0",
            "--conntrack-tcp-timeout-established=0",
            "--conntrack-tcp-timeout-close-wait=0",
            "--healthz-bind-address=",
            "--metrics-bind-address=127.0.0.1:10249",
        ]
        self._proxy = Server([*inside, program("kube-proxy"), *options], self._folder / "log" / "kube-proxy.log")
        self._proxy.start(lambda: True)

    def power_off(self) -> None:
        """See `Machine.power_off`."""
        if self._proxy:
            self._proxy.kill()
        super().power_off()
