"""Who may do what with a state directory after root has looked at it."""

import os
from pathlib import Path

import pytest

from edge.folders import Folders
from tests.edge.tools.test_device_tools import edge

SOMEBODY = 10001

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="Only root can look at what is another one's.")


def test_what_root_makes_in_somebodys_state_is_that_ones(tmp_path: Path) -> None:
    state, description = tmp_path / "state", tmp_path / "device.json"
    description.write_text('{"busy_watts": 5}')
    state.mkdir()
    os.chown(state, SOMEBODY, SOMEBODY)
    samples = tmp_path / "samples.jsonl"
    samples.write_text('{"x": 1.0, "label": "low"}\n{"x": 2.0, "label": "high"}\n')
    form = tmp_path / "format.json"
    form.write_text('{"storage": "json-lines", "fields": [{"name": "x", "shape": []}], "classes": ["low", "high"]}')
    for command in (
        ("device", "--state", state, "--describe", description),
        ("samples", "add", samples, "--state", state, "--format", form),
        ("status", "--state", state),
        ("device", "--state", state),
    ):
        done = edge(*command)
        assert done.code in (0, 3), done.err  # No runner has used it yet.
    made = list(state.rglob("*"))
    assert {Folders(state).samples, Folders(state).description} <= set(made)
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(SOMEBODY, SOMEBODY)}
