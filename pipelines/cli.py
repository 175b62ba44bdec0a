"""The command line `cloudedge`, which may be interrupted from its first moment on."""

import sys

from cloudedge.errors import EXIT_INTERRUPTED, CloudedgeError
from cloudedge.interpreter import use_own_modules


def main() -> None:
    """Run a command; every error that is known is one message and a documented exit code."""
    use_own_modules("pipelines.cli")
    from cloudedge.output import own_output

    try:
        with own_output():
            from pipelines.commands.app import app

            app(prog_name="cloudedge")
    except CloudedgeError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:  # Before a command could say so itself.
        sys.exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
