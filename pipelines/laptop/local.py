"""A pipeline run on this machine by kfp itself, in a process of its own.

    python -m pipelines.laptop.local TASK PARENT CLOUD_DATA TEST_DATA ROOT {flat,compact}

`cloudedge run` starts it and shows what happens meanwhile; what kfp prints is this process's output. It ends with 1 if a step
failed, and as shells say it, with 128 and the signal's number, if a step was killed.
"""

import os
import sys
import warnings
from pathlib import Path

from cloud.step import PARENT_VARIABLE
from cloudedge.documents import Task, parse
from cloudedge.processes import end_with
from components.collaborative_training.pretrain.parameters import parameters_of
from pipelines.laptop import fork_server


def main() -> int:
    """Run one task's pipeline; its steps say in the store why a run failed."""
    task_file, parent, cloud_data, test_data, root, shape = sys.argv[1:]
    end_with(int(parent))
    os.environ[PARENT_VARIABLE] = str(os.getpid())
    warnings.filterwarnings("ignore", message=".*non-Python base image.*")
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # The tasks write to the same log.
    fork_server.prepare()
    from kfp import local

    task = parse(Task, Path(task_file).read_bytes(), task_file)
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=root)
    if shape == "compact":
        from pipelines.collaborative_training.compact import collaborative_training_compact as pipeline
    else:
        from pipelines.collaborative_training.flat import with_rounds

        pipeline = with_rounds(task.collaboration.rounds if task.collaborate else 0)
    try:
        pipeline(**parameters_of(task), cloud_data=cloud_data, test_data=test_data)
    except RuntimeError as error:
        print(error, flush=True)
        return 128 + fork_server.deaths[-1] if fork_server.deaths else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
