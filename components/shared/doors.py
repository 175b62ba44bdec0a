"""What components call: the way from a pipeline's task into a step, and out of it with a message where it fails."""

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from cloudedge.errors import CloudedgeError

ArgumentsT = ParamSpec("ArgumentsT")
ResultT = TypeVar("ResultT")


def door(function: Callable[ArgumentsT, ResultT]) -> Callable[ArgumentsT, ResultT]:
    """Have an error that is raised on purpose end the task with its message and exit code.

    kfp would log its traceback, in which whoever reads the task's log in Kubeflow would have to look for the message.
    """

    @functools.wraps(function)
    def told(*args: ArgumentsT.args, **kwargs: ArgumentsT.kwargs) -> ResultT:
        try:
            return function(*args, **kwargs)
        except CloudedgeError as error:
            print(error, file=sys.stderr, flush=True)
            sys.exit(error.exit_code)

    return told
