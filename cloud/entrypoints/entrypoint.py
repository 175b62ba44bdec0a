"""What components call: the way from a pipeline's task into a step, and out of it with a message where it fails."""

import contextlib
import functools
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

from cloudedge.errors import CloudedgeError

ArgumentsT = ParamSpec("ArgumentsT")
ResultT = TypeVar("ResultT")

_TERMINATION_LOG = Path("/dev/termination-log")
"""What a container leaves there becomes its pod's message, and its node's in Argo."""

_MOST_BYTES = 4096
"""Of it that Kubernetes keeps."""


def entrypoint(function: Callable[ArgumentsT, ResultT]) -> Callable[ArgumentsT, ResultT]:
    """Have whatever ends a step before it is done be the last that the step itself says.

    A task's log is the only place where Kubeflow's pages show why it failed. They open it at its end, and mark lines that speak
    of an error. An error that is raised on purpose ends the task with its message and exit code; kfp would log its traceback.
    """

    @functools.wraps(function)
    def told(*args: ArgumentsT.args, **kwargs: ArgumentsT.kwargs) -> ResultT:
        try:
            return function(*args, **kwargs)
        except CloudedgeError as error:
            _tell(str(error))
            sys.exit(error.exit_code)
        except Exception as error:
            traceback.print_exc()
            _tell(f"{type(error).__name__}: {error}. This is a mistake in cloudedge: please report it, with the lines above.")
            sys.exit(CloudedgeError.exit_code)
        except SystemExit:
            _tell("The step was terminated. The same task, run again, goes on where it was.")
            raise

    return told


def in_a_pod() -> bool:
    """Whether Kubeflow runs this task, and shows what becomes of it on its pages; a laptop's engine has none."""
    return "KFP_POD_NAME" in os.environ


def _tell(reason: str) -> None:
    with contextlib.suppress(OSError):  # Nobody reads any more; the exit code says what it can.
        sys.stdout.flush()
        print(f"Error: {reason}", file=sys.stderr, flush=True)
    if in_a_pod():
        with contextlib.suppress(OSError):  # Not every pod has one that a user may write.
            kept = reason.encode(errors="replace")[:_MOST_BYTES]
            _TERMINATION_LOG.write_text(kept.decode(errors="ignore"), encoding="utf-8")  # No part of a character at the end.
