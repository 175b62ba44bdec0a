"""Which tests need what this machine may not have: marked, and left out where it is missing, with a word on how to get it."""

from dataclasses import dataclass

import pytest

from tests.cluster.tools import missing


@dataclass(frozen=True)
class Tier:
    """Tests that need something real.

    Attributes:
        tests: Which these are, for a person.
        fixtures: By which they are known.
        parts: Parts of a test cluster that must be here.
    """

    tests: str
    fixtures: frozenset[str]
    parts: tuple[str, ...]


TIERS = {
    "servers": Tier(
        "against a real Kubernetes and MinIO, and by KServe's client",
        frozenset(("control_plane", "kserve_python", "minio", "own_control_plane", "own_minio")),
        ("servers",),
    ),
    "kubeflow": Tier("against a real Kubeflow", frozenset(("kubeflow", "shared_kubeflow")), ("servers", "kubeflow")),
    "browser": Tier("of pages in a browser", frozenset(("page",)), ("browser",)),
    "images": Tier("of the container images", frozenset(("containerd",)), ("images",)),
    "argo": Tier(
        "of runs that Kubeflow executes",
        frozenset(("kubeflow_tier",)),
        ("servers", "images", "edge", "cloud", "kubeflow", "argo"),
    ),
    "cloud": Tier("on a node in the cloud", frozenset(("cloud_tier",)), ("servers", "images", "edge", "cloud")),
    "edge": Tier("on KubeEdge nodes", frozenset(("edge_tier",)), ("servers", "images", "edge")),
}
"""By the marker of the tests."""


def pytest_configure(config: pytest.Config) -> None:
    """Name the tests that need real servers."""
    for name, tier in TIERS.items():
        config.addinivalue_line("markers", f"{name}: runs {tier.tests}")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what needs servers, leave out what cannot run here, and begin with what takes longest."""
    impossible = {name for name, tier in TIERS.items() if missing(tier.parts)}
    left_out = []
    for item in items:
        needed = {name for name, tier in TIERS.items() if tier.fixtures & set(getattr(item, "fixturenames", ()))}
        for name in needed:
            item.add_marker(name)
        if needed & impossible:
            left_out.append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    items.sort(key=lambda item: "e2e" not in item.keywords)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left out."""
    for tier in TIERS.values():
        ways = missing(tier.parts)
        if ways:
            terminalreporter.write_line(f"Not run: the tests {tier.tests}. To run them: {', then '.join(ways)}")
