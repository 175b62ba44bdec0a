"""The configuration of a detector: read, and compared with the machine that it is for."""

import os
from collections.abc import Iterator
from pathlib import Path

from cloudedge.documents.base import parse
from cloudedge.documents.detector import Camera, DetectorConfiguration, Folder, Pulses
from cloudedge.errors import CloudedgeError, InvalidInput, NotFound
from cloudedge.places import shown_path


def configuration_in(path: Path) -> DetectorConfiguration:
    """Read a configuration.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it cannot be read.
        InvalidDocument: it is none; says all that is wrong with it.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise NotFound(f"There is no configuration {shown_path(path)}. Correct --config.") from None
    except OSError as error:
        raise InvalidInput(f"Cannot read {shown_path(path)}: {error.strerror}. Correct --config, or its rights.") from None
    return parse(DetectorConfiguration, content, shown_path(path), 1024 * 1024)


def faults_here(configuration: DetectorConfiguration, base: Path) -> list[str]:
    """What of it does not fit this machine, all of it; what is not plugged in yet is a fault, too.

    Args:
        configuration: What a detector here would be set up with.
        base: Folder that relative paths are below.
    """
    return [*_source_faults(configuration, base), *_encoder_faults(configuration, base), *_outlet_faults(configuration, base)]


def _source_faults(configuration: DetectorConfiguration, base: Path) -> Iterator[str]:
    source = configuration.source
    if isinstance(source, Camera):
        from edge.detector.sources.camera import require_av

        try:
            require_av()
        except InvalidInput as error:
            yield f"source: {error}"
        if source.address.startswith("/dev/"):
            yield from _unreadable("source.address", Path(source.address))
    elif isinstance(source, Folder):
        from edge.detector.sources.folder import FolderSource

        try:
            FolderSource(base / source.path, source.mode)
        except InvalidInput as error:
            yield f"source.path: {error}"


def _encoder_faults(configuration: DetectorConfiguration, base: Path) -> Iterator[str]:
    if isinstance(configuration.encoder, Pulses):
        yield from _unreadable("encoder.path", base / configuration.encoder.path)


def _outlet_faults(configuration: DetectorConfiguration, base: Path) -> Iterator[str]:
    if configuration.light is not None:
        yield from _unwritable("light.path", base / configuration.light.path)
    if configuration.results.file is not None:
        yield from _unwritable("results.file.path", base / configuration.results.file.path)
    if configuration.results.mqtt is not None:
        from edge.detector.mqtt import prepared_client

        try:
            prepared_client(configuration.results.mqtt, base)
        except CloudedgeError as error:
            yield f"results.mqtt: {error}"


def _unreadable(field: str, path: Path) -> Iterator[str]:
    if not path.exists():
        yield f"{field}: there is no {shown_path(path)}. Plug it in, or correct the path."
    elif path.is_dir() or not os.access(path, os.R_OK):
        yield f"{field}: {shown_path(path)} cannot be read. Give this user the right to, or correct the path."


def _unwritable(field: str, path: Path) -> Iterator[str]:
    there = next(each for each in (path, *path.parents) if each.exists())
    if path.is_dir():
        yield f"{field}: {shown_path(path)} is a folder. Name a file in it."
    elif there != path and not there.is_dir():
        yield f"{field}: {shown_path(there)} is no folder. Correct the path."
    elif not os.access(there, os.W_OK):
        yield f"{field}: {shown_path(there)} cannot be written. Give this user the right to, or correct the path."
