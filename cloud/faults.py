"""One bad thing stops only itself: what a loop over edges, runs or their objects passes over, and goes on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cloud.patience import Away
from cloudedge.errors import CloudedgeError


class Faults:
    """What could not be used, each once.

    Who runs the loop decides what follows: a step says them, a command ends with them once the others are done.
    """

    def __init__(self) -> None:
        """Know of none."""
        self._kept: dict[str, CloudedgeError] = {}
        self._noted: dict[str, None] = {}

    def add(self, error: CloudedgeError) -> None:
        """Keep why something that was asked is not done."""
        self._kept.setdefault(str(error), error)

    def note(self, error: CloudedgeError) -> None:
        """Keep what is only to be said: nothing that was asked depends on it."""
        self._noted[str(error)] = None

    def join(self, others: "Faults") -> None:
        """Keep others' too."""
        for error in others._kept.values():
            self.add(error)
        self._noted.update(others._noted)

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Have what goes wrong with one of many things be kept, and not end the others' turn.

        Raises:
            Away: a server answers nobody, so that the others would fare the same.
        """
        try:
            yield
        except Away:
            raise
        except CloudedgeError as error:
            self.add(error)

    def tell(self, say: Callable[[str], object]) -> None:
        """Say all of them."""
        self.tell_notes(say)
        for message in self._kept:
            say(message)

    def tell_notes(self, say: Callable[[str], object]) -> None:
        """Say those on which nothing depends."""
        for message in self._noted:
            say(message)

    def error(self) -> CloudedgeError | None:
        """One that says what is not done, with the exit code of the first; none if all that was asked is done."""
        if not self._kept:
            return None
        together = CloudedgeError("\n".join(self._kept))
        together.exit_code = next(iter(self._kept.values())).exit_code
        return together
