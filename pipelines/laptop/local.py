"""Pipelines run on this machine by kfp itself, one after another, in a process of its own.

    python -m pipelines.laptop.local PARENT MODULE...

The modules are what the pipelines' tasks import. Each line that comes in is a `Job`; for each one goes out: 0, 1 if a step
failed, and as shells say it, 128 and the signal's number, if a step was killed. What kfp prints goes to the job's log. It ends
when no more jobs can come, and says as its exit code how the last one ended.
"""

import os
import sys
import traceback
from typing import BinaryIO

from cloudedge.processes import end_with
from pipelines.laptop import fork_server
from pipelines.laptop.job import Job


def main() -> int:
    """Run the pipelines that are asked for; their steps say in the store why a run failed."""
    parent, *modules = sys.argv[1:]
    end_with(int(parent))
    jobs, answers = _taken_streams()
    fork_server.prepare(modules)
    code = 0
    for line in jobs:
        code = perform(Job.from_line(line))
        answers.write(b"%d\n" % code)
    return code


def perform(job: Job) -> int:
    """Run one pipeline; returns its exit code."""
    fork_server.write_to(job.log)
    os.environ.clear()
    os.environ.update(job.environment)
    fork_server.forget_temporary_folder()
    fork_server.deaths.clear()
    try:
        _run(job)
    except RuntimeError as error:
        print(error, flush=True)
        return 128 + fork_server.deaths[-1] if fork_server.deaths else 1
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def _run(job: Job) -> None:
    # Imported while the fork server loads.
    import warnings
    from pathlib import Path

    from kfp import local

    from cloud.step import PARENT_VARIABLE
    from cloudedge.documents import read_task
    from pipelines.systems import system_of

    os.environ[PARENT_VARIABLE] = str(os.getpid())
    warnings.filterwarnings("ignore", message=".*non-Python base image.*")
    task = read_task(Path(job.task).read_bytes(), job.task)
    system = system_of(task)
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=job.root)
    pipeline = system.pipeline(task, "laptop", job.compact)
    pipeline(**system.form.values_of(task), **job.arguments)


def _taken_streams() -> tuple[BinaryIO, BinaryIO]:
    """Where jobs come from and answers go, out of reach of whatever else reads or prints here."""
    jobs = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # The tasks write to the same log.
    return jobs, answers


if __name__ == "__main__":
    sys.exit(main())
