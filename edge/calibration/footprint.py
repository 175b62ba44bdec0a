"""How much memory an inference takes: each network in a process of its own, as what one leaves behind changes the next.

`python -m edge.calibration.footprint THREADS` reads paths of ONNX files, a line each, and answers each with a number of bytes.
It is started with no thread but its own, so that it may fork.
"""

import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from cloudedge import memory
from cloudedge.automl.graph import drawn, written
from cloudedge.documents import DataFormat, ModelSpec
from cloudedge.errors import WorkFailed
from cloudedge.files import disk_errors
from cloudedge.interpreter import environment, python
from cloudedge.processes import ONE_THREAD
from edge.calibration.measuring import Measured

_FIRST = ModelSpec(architecture="convnet", parameters={"channels": [4], "kernel": 1, "norm": "batch"})
_FIRST_DATA = DataFormat.model_validate(
    {"storage": "npz", "fields": [{"name": "x", "shape": [1, 8, 8]}], "classes": ["a", "b"]}
)
_RUNS = 3
_COUNT = struct.Struct("q")


class Footprints:
    """A process that tells footprints."""

    def __init__(self, asks: IO[str], answers: IO[str], folder: Path) -> None:
        """Speak to it.

        Args:
            asks: What it reads.
            answers: What it says.
            folder: Where files for it go.
        """
        self._asks, self._answers, self._folder = asks, answers, folder

    def of(self, content: bytes) -> int:
        """Most memory of an inference by a network, in bytes: its weights, its activations and what the runtime keeps of it.

        While a file is loaded, it takes some times its weights for a moment; that is not counted.

        Args:
            content: The ONNX file.

        Raises:
            WorkFailed: it cannot be run.
            StoreFailed: the disk refuses.
        """
        path = self._folder / "measured.onnx"
        with disk_errors(path):
            path.write_bytes(content)
        self._asks.write(f"{path}\n")
        self._asks.flush()
        found = self._answers.readline()
        if not found.strip().isdigit() or not int(found):
            raise WorkFailed("A network could not be run to measure its memory. Free memory on the device and try again.")
        return int(found)


@contextmanager
def footprints(threads: int = 1) -> Iterator[Footprints]:
    """Have such a process meanwhile.

    Args:
        threads: That one inference computes with.
    """
    command = python(__name__, threads)
    with (
        tempfile.TemporaryDirectory(prefix="cloudedge-footprint-") as folder,
        subprocess.Popen(
            command, env=environment() | ONE_THREAD, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process,
    ):
        try:
            if process.stdin is None or process.stdout is None:
                raise WorkFailed("The process that measures memory cannot be spoken to.")
            yield Footprints(process.stdin, process.stdout, Path(folder))
        finally:
            process.kill()


def _main() -> None:
    threads = int(sys.argv[1])
    memory.share_one_arena()
    memory.return_large_pieces()
    for line in sys.stdin:
        path = Path(line.rstrip("\n"))
        ours, theirs = os.pipe()
        child = os.fork()
        if not child:
            try:
                os.write(theirs, _COUNT.pack(_footprint(path, threads)))
            finally:
                os._exit(0)
        os.close(theirs)
        os.waitpid(child, 0)
        said = os.read(ours, _COUNT.size)
        os.close(ours)
        print(_COUNT.unpack(said)[0] if len(said) == _COUNT.size else 0, flush=True)


def _footprint(path: Path, threads: int) -> int:
    content = path.read_bytes()
    # What a process takes for its first network alone, code that is read from the disk above all. It is a small one and stays,
    # as sessions share their memory.
    first = Measured(written(_FIRST, _FIRST_DATA, drawn(_FIRST, _FIRST_DATA)), threads)
    memory.release()
    before = _kibibytes("VmRSS")
    measured = Measured(content, threads)
    memory.release()
    # What loading took for a moment is forgotten. Linux older than 4.0 cannot, and tells more.
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    measured.run(_RUNS)
    first.run(1)
    return max(1, _kibibytes("VmHWM") - before) * 1024


def _kibibytes(name: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise WorkFailed(f"Linux does not tell {name} of a process here.")


if __name__ == "__main__":
    _main()
