"""What the cluster is asked for when an edge is enrolled."""

import pytest

from cloud.fleet.enrolment import RunnerSpec, deployment
from cloudedge.errors import InvalidInput


def pod(**asked: object) -> dict[str, object]:
    spec = RunnerSpec("hall", "node-1", **asked)  # type: ignore[arg-type]
    template: dict[str, object] = deployment(spec, "cloudedge-edges")["spec"]["template"]
    return template


def container(template: dict[str, object]) -> dict[str, object]:
    (found,) = template["spec"]["containers"]  # type: ignore[index]
    return found  # type: ignore[no-any-return]


def test_nobody_calls_a_runner() -> None:
    template = pod()

    assert "ports" not in container(template)
    assert "--line" not in container(template)["command"]  # type: ignore[operator]
    assert "cloudedge.io/line" not in template["metadata"]["labels"]  # type: ignore[index]


def test_a_lines_detectors_reach_it_by_ports_of_its_node() -> None:
    template = pod(line=8470)

    assert container(template)["command"][-2:] == ["--line", "0.0.0.0:8470"]  # type: ignore[index]
    assert container(template)["ports"] == [
        {"name": "detectors", "containerPort": 8470, "hostPort": 8470},
        {"name": "join", "containerPort": 8471, "hostPort": 8471},
        {"name": "page", "containerPort": 8472, "hostPort": 8472},
    ]
    assert container(template)["env"] == [
        {"name": "CLOUDEDGE_NODE_ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}}
    ]
    assert template["metadata"]["labels"]["cloudedge.io/line"] == "yes"  # type: ignore[index]


@pytest.mark.parametrize("port", [-1, 65_534, 70_000])
def test_a_port_after_which_there_are_no_others_is_refused(port: int) -> None:
    with pytest.raises(InvalidInput, match=f"{port} cannot be the port of the line at the edge hall: give one from 1 to 65533"):
        RunnerSpec("hall", "node-1", line=port)
