"""A busy neighbour: a process that computes and moves memory, as a training beside an inspection does.

`python -m edge.calibration.neighbour PID` goes on until the process of that id has ended, or it is killed.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from os import getpid

import numpy as np

from cloudedge.interpreter import environment, python
from cloudedge.processes import ONE_THREAD, end_with

_SIDE = 384
_MOVED = 2 * 1024 * 1024
"""Numbers that are moved at a time: more than caches near a core hold."""


@contextmanager
def busy_neighbour() -> Iterator[None]:
    """Have one on the device meanwhile, on one core, wherever the system puts it."""
    command = python(__name__, getpid())
    with subprocess.Popen(command, env=environment() | ONE_THREAD, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        try:
            if process.stdout is not None:
                process.stdout.readline()  # It has begun.
            yield
        finally:
            process.kill()


def _main() -> None:
    end_with(int(sys.argv[1]))
    matrix = np.ones((_SIDE, _SIDE), np.float32)
    memory, other = np.ones(_MOVED, np.float32), np.empty(_MOVED, np.float32)
    print("busy", flush=True)
    while True:
        np.matmul(matrix, matrix)
        np.copyto(other, memory)


if __name__ == "__main__":
    _main()
