"""A node in the cloud: a machine with a kubelet, a kube-proxy, and kube-router, which enforces network policies."""

import json
from pathlib import Path

from tests.cluster.control_plane import SERVICES, ControlPlane
from tests.cluster.machine import Machine
from tests.cluster.network import Network
from tests.cluster.processes import Server
from tests.cluster.tools import program
from tests.waiting import until


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
        self._network_agents: list[Server] = []
        configuration = {
            **self.kubelet,
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            # It can be reached from this machine only.
            "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"},
            "failCgroupV1": False,
            "resolvConf": "",
            "clusterDNS": [network.cloud],
            "clusterDomain": "cluster.local",
        }
        (folder / "kubelet.json").write_text(json.dumps(configuration))

    def start(self) -> None:
        """See `Machine.start`; the node is ready; services and network policies are being applied."""
        super().start()
        until(self.ready, what=f"{self.name} ready")
        log = self._folder / "log"
        common = (f"--kubeconfig={self._control_plane.kubeconfig}", f"--hostname-override={self.name}")
        proxy = (
            "--proxy-mode=iptables",
            "--conntrack-max-per-core=0",
            "--conntrack-tcp-timeout-established=0",
            "--conntrack-tcp-timeout-close-wait=0",
            "--healthz-bind-address=",
            "--metrics-bind-address=127.0.0.1:10249",
        )
        router = (
            "--run-firewall=true",
            "--run-router=false",
            "--run-service-proxy=false",
            f"--service-cluster-ip-range={SERVICES}",
            "--health-port=0",
        )
        for name, options in (("kube-proxy", proxy), ("kube-router", router)):
            inside = ("nsenter", f"--target={self.init}", "--net", "--mount", "--")
            agent = Server([*inside, program(name), *common, *options], log / f"{name}.log")
            agent.start(lambda: True)
            self._network_agents.append(agent)

    def power_off(self) -> None:
        """See `Machine.power_off`."""
        while self._network_agents:
            self._network_agents.pop().kill()
        super().power_off()
