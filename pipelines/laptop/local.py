"""A pipeline run on this machine by kfp itself, in a process of its own.

    python -m pipelines.laptop.local TASK PARENT ROOT {fitting,flat,compact} ARGUMENTS

`cloudedge run` starts it and shows what happens meanwhile; what kfp prints is this process's output. It ends with 1 if a step
failed, and as shells say it, with 128 and the signal's number, if a step was killed.
"""

import json
import os
import sys
import warnings
from pathlib import Path

from cloud.step import PARENT_VARIABLE
from cloudedge.documents import read_task
from cloudedge.processes import end_with
from pipelines.laptop import fork_server
from pipelines.laptop.engine import SHAPES
from pipelines.systems import system_of


def main() -> int:
    """Run one task's pipeline; its steps say in the store why a run failed."""
    task_file, parent, root, shape, arguments = sys.argv[1:]
    end_with(int(parent))
    os.environ[PARENT_VARIABLE] = str(os.getpid())
    warnings.filterwarnings("ignore", message=".*non-Python base image.*")
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # The tasks write to the same log.
    task = read_task(Path(task_file).read_bytes(), task_file)
    system = system_of(task)
    fork_server.prepare(system.modules)
    from kfp import local

    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=root)
    compact = {name: compact for compact, name in SHAPES.items()}[shape]
    pipeline = system.pipeline(task, "laptop", compact)
    try:
        pipeline(**system.form.values_of(task), **json.loads(arguments))
    except RuntimeError as error:
        print(error, flush=True)
        return 128 + fork_server.deaths[-1] if fork_server.deaths else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
