"""Calibrations, as they lie in the edge's state."""

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from cloudedge.automl.predicting import is_for, why_stale
from cloudedge.documents import DataFormat
from cloudedge.documents.automl import Calibration, DeviceDescription
from cloudedge.documents.base import parse
from cloudedge.errors import InvalidDocument
from cloudedge.files import atomic_write
from edge.calibration.calibrating import MOST_SECONDS, calibrate
from edge.calibration.checking import why_otherwise
from edge.folders import Folders
from edge.ownership import give_to_owner
from edge.probes.description import description_of
from edge.probes.power import estimated_inference_watts
from edge.probes.processor import processor


def kept(folders: Folders) -> list[Calibration]:
    """Calibrations that are there, by the names of their files; one that another version wrote is passed over."""
    found = []
    for path in sorted(folders.calibrations.glob("*.json")):
        with suppress(InvalidDocument, OSError):
            found.append(parse(Calibration, path.read_bytes(), str(path)))
    return found


class Calibrated(NamedTuple):
    """A device that is calibrated.

    Attributes:
        calibration: What was measured.
        now: Whether that was now, and not before.
        why: Why it was, although it had been before; empty: it had not, or was not now.
    """

    calibration: Calibration
    now: bool = False
    why: str = ""


def calibrated(
    folders: Folders,
    data: DataFormat,
    *,
    threads: int = 1,
    anew: bool = False,
    check: bool = False,
    seconds: float = MOST_SECONDS,
    say: Callable[[str, int, int], object] = lambda phase, done, total: None,
) -> Calibrated:
    """What networks for these samples cost on this device: as it was measured before, or measured now and kept.

    Args:
        folders: Of the edge.
        data: Format of the samples.
        threads: That an inference computes with.
        anew: Whether to measure even if what was measured before still holds.
        check: Whether some networks are measured again, in seconds, to see whether it does.
        seconds: How long measuring may take.
        say: Told how far it has come, see `calibrate`.

    Raises:
        InvalidInput: the samples are no images, or the device's description is none.
        WorkFailed: the device is too slow.
        StoreFailed: the disk refuses.
    """
    description, why = description_of(folders), ""
    if not anew:
        for found in kept(folders):
            if is_for(found, data):
                why = why_stale(found, processor(), threads) or (check and why_otherwise(found, data, say)) or ""
                if not why:
                    return Calibrated(_with_power(found, description))
    calibration = calibrate(data, threads=threads, description=description, seconds=seconds, say=say)
    path = folders.calibrations / f"{_name(calibration)}.json"
    atomic_write(path, calibration.to_json())
    for made in (folders.calibrations, path):
        give_to_owner(made)
    return Calibrated(calibration, now=True, why=why)


def _with_power(found: Calibration, description: DeviceDescription | None) -> Calibration:
    """A calibration with what the device's description says of its power by now, unless that was measured."""
    if found.watts_origin == "measured":
        return found
    watts, origin = estimated_inference_watts(description, found.processor.cores, found.threads)
    return found.model_copy(update={"watts": watts, "watts_origin": origin})


def _name(calibration: Calibration) -> str:
    """Of its file: one for each form of samples."""
    shape = "x".join(map(str, calibration.shape))
    return f"{shape}-{calibration.dtype}{'-shifted' if calibration.shifted else ''}-{calibration.classes}"
