"""Where pictures and tables are drawn for a person."""

from rich.console import Console


def console(*, stderr: bool = False) -> Console:
    """A console that shows text as it is: a folder called '[b]' or ':dog:' has that name in a command to be typed, too."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)
