"""Every error that cloudedge raises on purpose, and the exit code that a command ends with.

    CloudedgeError              1   anything else that went wrong, said in one message
    ├── InvalidInput            2   a file, a field, an option or a name that cannot be used
    │   ├── InvalidDocument         a task, order, inbox, report, manifest or record; lists all its faults at once
    │   ├── InvalidSamples          samples that do not fit the data format
    │   └── InvalidModel            a model file that is not the model it should be
    │       └── SpoiledModel        it is that model, but its numbers are none to compute with
    ├── NotFound                3   no such run, edge, sample, model, object
    ├── Conflict                4   it exists already, or is over already
    ├── StoreFailed             5   the object store, its network or the disk under it does not do its work
    ├── QuorumMissed            6   too few edges answered before the round's deadline
    ├── Cancelled               7   the run was cancelled
    └── WorkFailed              8   a step of the pipeline or the work at an edge broke
        └── Diverged                training gave numbers that are none any more

A command interrupted by Ctrl-C ends with 130, and one whose reader has ended with 141, as shells expect.
"""

EXIT_INTERRUPTED = 130
EXIT_UNREAD = 141


class CloudedgeError(Exception):
    """Base of all errors raised on purpose; the message names the value and the way out."""

    exit_code = 1

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows in the place of a traceback: a person's mistake is no matter of our frames."""
        return [f"{type(self).__name__}: {self}"]


class InvalidInput(CloudedgeError):
    """Something that a person or another program gave cannot be used."""

    exit_code = 2


class InvalidDocument(InvalidInput):
    """A document is malformed, of an unknown version or too large.

    Attributes:
        faults: One line for each fault: the field, the value found and what is expected.
    """

    def __init__(self, title: str, faults: list[str]) -> None:
        """Join the faults under a title.

        Args:
            title: What was read and from where.
            faults: One line for each fault.
        """
        super().__init__("\n".join([title, *(f"  - {fault}" for fault in faults)]))
        self.faults = faults


class InvalidSamples(InvalidInput):
    """Samples do not fit the data format that the task describes."""


class InvalidModel(InvalidInput):
    """A model file has other names, shapes, types, digest or values than it must have."""


class SpoiledModel(InvalidModel):
    """A model holds NaN, infinity or numbers too large to compute with, as it does when training diverged."""


class NotFound(CloudedgeError):
    """What was named does not exist."""

    exit_code = 3


class Conflict(CloudedgeError):
    """What was asked collides with what is there already."""

    exit_code = 4


class StoreFailed(CloudedgeError):
    """The object store, the network before it or the disk below it failed."""

    exit_code = 5


class QuorumMissed(CloudedgeError):
    """Fewer edges than the quorum delivered a result before the deadline."""

    exit_code = 6


class Cancelled(CloudedgeError):
    """The run was cancelled by a person."""

    exit_code = 7


class WorkFailed(CloudedgeError):
    """A pipeline step or the work at an edge broke."""

    exit_code = 8


class Diverged(WorkFailed):
    """Training gave a loss or weights that are no finite numbers; the same training would do so again."""
