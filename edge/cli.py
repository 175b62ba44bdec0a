"""The command line of an edge: the runner, and the site engineer's tools, which need no cloud.

`run` and `workers` hand over to modules that load little, as their processes stay: an idle runner is small because nothing
of this module is in it.
"""

import os
import sys

from cloudedge.interpreter import python, use_own_modules

PROGRAM = "cloudedge-edge"
_HANDED_OVER = {"run": "edge.runner", "workers": "edge.workers"}


def main() -> None:
    """Entry point of the command `cloudedge-edge`."""
    use_own_modules("edge.cli")
    from cloudedge.output import a_command

    with a_command():
        if len(sys.argv) > 1 and sys.argv[1] in _HANDED_OVER:
            # A new program in the same process: whoever started this one still knows its id.
            os.execv(sys.executable, python(_HANDED_OVER[sys.argv[1]], *sys.argv[2:]))  # noqa: S606
        from edge.tools.commands import app

        app(prog_name=PROGRAM)


if __name__ == "__main__":
    main()
