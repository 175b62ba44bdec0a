"""The command line `cloudedge`, which may be interrupted from its first moment on."""

from cloudedge.interpreter import use_own_modules


def main() -> None:
    """Run a command."""
    use_own_modules("pipelines.cli")
    from cloudedge.output import a_command

    with a_command():
        from pipelines.commands.app import app

        app(prog_name="cloudedge")


if __name__ == "__main__":
    main()
