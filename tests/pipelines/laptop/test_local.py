"""How a pipeline ends."""

import os
from pathlib import Path
from typing import Never

import pytest

from cloud.step import PARENT_VARIABLE
from pipelines.collaborative_training import flat
from pipelines.laptop import fork_server, local
from pipelines.laptop.job import Job


@pytest.mark.parametrize(("deaths", "code"), [([], 1), ([9], 137), ([9, 11], 139)])
def test_a_step_that_was_killed_is_told_from_one_that_failed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, task_file: Path, deaths: list[int], code: int
) -> None:
    def fail(**_: object) -> Never:
        fork_server.deaths += deaths
        raise RuntimeError("A task failed.")

    monkeypatch.setattr(fork_server, "deaths", [])
    monkeypatch.setattr(fork_server, "write_to", lambda log: None)
    monkeypatch.setattr(flat, "with_rounds", lambda rounds, shape: fail)
    monkeypatch.setenv(PARENT_VARIABLE, "")

    assert local.perform(Job(str(task_file), str(tmp_path), False, {}, str(tmp_path / "log"), dict(os.environ))) == code
