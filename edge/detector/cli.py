"""The command line of a detector.

`run` hands over to a module that loads little, as its process stays: a detector is small because nothing of this one is in it.
"""

import os
import sys

from cloudedge.interpreter import python, use_own_modules

PROGRAM = "cloudedge-detector"


def main() -> None:
    """Entry point of the command `cloudedge-detector`."""
    use_own_modules("edge.detector.cli")
    from cloudedge.output import a_command

    with a_command():
        if sys.argv[1:2] == ["run"]:
            # A new program in the same process: whoever started this one still knows its id.
            os.execv(sys.executable, python("edge.detector", *sys.argv[2:]))  # noqa: S606
        from edge.detector.commands import app

        app(prog_name=PROGRAM)


if __name__ == "__main__":
    main()
