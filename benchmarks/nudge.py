"""How long an order takes from the cloud to a KubeEdge node: nudged, by the ConfigMap's own way, and around a cut link.

    python -m benchmarks.nudge [--repeats 9] --out FILE.json

Needs root and `make cluster-tools`. Real: KubeEdge's cloudcore and edgecore with its default `syncFrequency` of one minute,
containerd, the edge image, the inbox. The time is from the beginning of the inbox's update to the line with which the runner
says that it has accepted the order; the node's clock is this machine's. The order's model is not there, so it ends by itself.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from kubernetes import client

from benchmarks.tables import say, write
from cloud.cluster.api import Namespace
from cloud.inboxes.config_maps import ConfigMapInboxes, inbox_name
from tests.cloud.inboxes.conformance import adding
from tests.cloud.runs.builders import order
from tests.cluster.edge_tier import EdgeSite, EdgeTier
from tests.cluster.site import NAMESPACE
from tests.digits import write_digits
from tests.waiting import until

EDGE = "edge-1"
CUT_SECONDS = 60.0
PATIENCE_SECONDS = 300.0


class Unnudged(ConfigMapInboxes):
    """Inboxes that leave all to KubeEdge."""

    def _nudge(self, edge: str) -> None:
        pass


def main() -> int:
    """Measure, print a table and write the figures."""
    parser = argparse.ArgumentParser(description="Time orders to a KubeEdge node.")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cloudedge-bench-") as folder:
        tier = EdgeTier(Path(folder), nodes=1, sync="1m0s")
        try:
            tier.start()
            figures = measure(EdgeSite(Path(folder), tier), Path(folder), options.repeats)
        finally:
            tier.stop()
    rows = [("seconds until an order is accepted", "median", "largest", "tries")]
    rows += [(name, f"{statistics.median(found):.2f}", f"{max(found):.2f}", str(len(found))) for name, found in figures.items()]
    say("From the cloud to a KubeEdge node", rows)
    write(options.out, {"load": os.getloadavg(), "seconds": figures})
    return 0


def measure(site: EdgeSite, folder: Path, repeats: int) -> dict[str, list[float]]:
    """Seconds of each try.

    Args:
        site: A site with one node.
        folder: Folder to work in.
        repeats: Tries with a nudge; there are a third of the others, as they take minutes.
    """
    write_digits(folder / "samples")
    namespace = Namespace(NAMESPACE, site.control_plane.client(), 30)
    nudging, silent = ConfigMapInboxes(namespace), Unnudged(namespace)
    few = max(1, repeats // 3)
    with site.edges(folder / "samples", (EDGE,)):
        until(lambda: "at work" in site.log(EDGE), PATIENCE_SECONDS, "the runner")
        figures = {
            "nudged": [seconds(site, f"nudged-{each}", nudging) for each in range(repeats)],
            "by the ConfigMap's own way": [seconds(site, f"own-{each}", silent) for each in range(few)],
            "nudged, once a node is ready again whose link was down for a minute": [
                after_a_cut(site, f"later-{each}", nudging) for each in range(few)
            ],
        }
        for how, inboxes, tries in (("nudged", nudging, 2 * few), ("by the ConfigMap's own way", silent, few)):
            found = [amid_a_cut(site, f"amid-{how[0]}-{each}", inboxes) for each in range(tries)]
            sent = f"sent while the link was down, {how}"
            figures[f"{sent}: from its healing"] = [accepted - healed for healed, _, accepted in found]
            figures[f"{sent}: from the inbox's arrival at the node"] = [accepted - arrived for _, arrived, accepted in found]
    return figures


def after_a_cut(site: EdgeSite, run: str, inboxes: ConfigMapInboxes) -> float:
    """How long an order takes when its node has come back."""
    node = site.node_of(EDGE)
    node.cut()
    time.sleep(CUT_SECONDS)
    node.heal()
    until(node.ready, PATIENCE_SECONDS, "the node")
    return seconds(site, run, inboxes)


def amid_a_cut(site: EdgeSite, run: str, inboxes: ConfigMapInboxes) -> tuple[float, float, float]:
    """When the link was healed, an inbox sent while it was down arrived at the node, and its order was accepted.

    The edge is nudged as while *wait* waits, if these inboxes nudge at all.
    """
    node = site.node_of(EDGE)
    until(node.ready, PATIENCE_SECONDS, "the node")
    node.cut()
    time.sleep(CUT_SECONDS / 2)
    inboxes.update(EDGE, adding(order(run, EDGE)))
    with inboxes.nudging((EDGE,), lambda edge: bool(accepted_times(site, run))):
        time.sleep(CUT_SECONDS / 2)
        before = confirmed(site)
        node.heal()
        healed = time.time()
        until(lambda: confirmed(site) != before, PATIENCE_SECONDS, f"the inbox of {run}")
        arrived = time.time()
        return healed, arrived, accepted_at(site, run)


def confirmed(site: EdgeSite) -> str:
    """The version of the inbox that the node has confirmed."""
    objects = client.CustomObjectsApi(site.control_plane.client())
    found = objects.list_namespaced_custom_object("reliablesyncs.kubeedge.io", "v1alpha1", NAMESPACE, "objectsyncs")
    (version,) = [
        each["status"]["objectResourceVersion"]
        for each in found["items"]
        if each["spec"]["objectKind"] == "ConfigMap" and each["spec"]["objectName"] == inbox_name(EDGE)
    ]
    return str(version)


def seconds(site: EdgeSite, run: str, inboxes: ConfigMapInboxes) -> float:
    """How long one order takes."""
    began = time.time()
    inboxes.update(EDGE, adding(order(run, EDGE)))
    return accepted_at(site, run) - began


def accepted_at(site: EdgeSite, run: str) -> float:
    """When the runner accepted an order, once it has."""
    until(lambda: accepted_times(site, run), PATIENCE_SECONDS, f"the order of {run}")
    return accepted_times(site, run)[0]


def accepted_times(site: EdgeSite, run: str) -> list[float]:
    """When the runner accepted an order; nothing if it has not yet."""
    lines = (line for line in site.log(EDGE).splitlines() if f"{run}.1.{EDGE}.1 accepted" in line)
    # The node's containerd writes when it heard each line.
    return [datetime.fromisoformat(line.split()[0]).timestamp() for line in lines]


if __name__ == "__main__":
    sys.exit(main())
