"""What a runner is started with."""

from dataclasses import dataclass
from pathlib import Path

from edge.probes.telemetry import PERIOD_SECONDS


@dataclass(frozen=True)
class Settings:
    """What a runner is started with.

    Attributes:
        inbox: Directory where the inbox is mounted.
        state: Directory that is the runner's own.
        samples: Directory that samples are collected from; none: only those added by hand.
        mirror_samples: Whether samples are forgotten once their files changed or are gone.
        file_roots: Folders below which file:// URLs are accepted.
        workers: Socket of a shared fork server; none: the runner starts its own when there is work.
        parent: Process whose end ends the runner.
        poll_seconds: Time between two looks into the inbox, in seconds.
        report_seconds: Least time between two reports that tell only of batches, in seconds.
        keep_workers_seconds: How long the own fork server stays after the last work, in seconds.
        telemetry_seconds: Time between two looks at what the device has to give, in seconds.
        keep_models: Number of trained models whose files are kept, the newest.
        line: host:port where a production line's detectors reach this machine; empty: as it was told before, if it was.
    """

    inbox: Path
    state: Path
    samples: Path | None = None
    mirror_samples: bool = False
    file_roots: tuple[Path, ...] = ()
    workers: Path | None = None
    parent: int | None = None
    poll_seconds: float = 0.2
    report_seconds: float = 1.0
    keep_workers_seconds: float = 300.0
    telemetry_seconds: float = PERIOD_SECONDS
    keep_models: int = 20
    line: str = ""
