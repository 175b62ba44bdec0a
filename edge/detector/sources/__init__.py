"""Where images come from."""

from pathlib import Path

from cloudedge.documents.detector import Camera, Folder, Source
from edge.detector.sources.base import ImageSource, Shot

__all__ = ["ImageSource", "Shot", "opened"]


def opened(source: Source, base: Path) -> ImageSource:
    """A source, ready to give images.

    Args:
        source: Which one.
        base: Folder that relative paths are below.

    Raises:
        InvalidInput: it cannot be used as it is configured.
    """
    # Each loads what it needs, and no other.
    if isinstance(source, Camera):
        from edge.detector.sources.camera import CameraSource

        return CameraSource(source, base)
    if isinstance(source, Folder):
        from edge.detector.sources.folder import FolderSource

        return FolderSource(base / source.path, source.mode)
    from edge.detector.sources.generator import GeneratorSource

    return GeneratorSource(source)
