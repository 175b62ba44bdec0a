"""What the process that runs pipelines is asked to do."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Job:
    """One pipeline.

    Attributes:
        task: File of the task.
        root: Folder for what kfp writes.
        compact: Whether it has as few tasks as it can; none: as suits this machine.
        arguments: What the pipeline's form asks for beside the task.
        log: File for what the steps say, which is added to.
        environment: All variables that the steps find their surroundings by.
    """

    task: str
    root: str
    compact: bool | None
    arguments: Mapping[str, Any]
    log: str
    environment: Mapping[str, str]

    def to_line(self) -> bytes:
        """One line of JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """Read it again."""
        return cls(**json.loads(line))
