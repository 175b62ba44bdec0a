"""The command line, called as a shell calls it, in this process."""

import json
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from pipelines.cli import main


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The document on standard output."""
        return json.loads(self.out)


Cloudedge = Callable[..., Ended]


@pytest.fixture
def cloudedge(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cloudedge:
    """Call `cloudedge` with these arguments; a traceback is a failure."""

    def call(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["cloudedge", *map(str, arguments)])
        capsys.readouterr()
        former = signal.getsignal(signal.SIGTERM)
        code: Any = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        finally:
            signal.signal(signal.SIGTERM, former)
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return Ended(int(code), printed.out, printed.err)

    return call
