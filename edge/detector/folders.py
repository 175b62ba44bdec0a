"""Where everything lies in a detector's state directory.

STATE/models/<brand>/<version>/     models that were deployed                   (cloudedge.serving.models)
STATE/deployments.json              how the last deployments stand
STATE/wishes.json                   the brand that runs, and what is being taught
STATE/spool/spool.db                records of images that are kept, and their heat maps
STATE/spool/images/<id>.png         the images
STATE/status.json                   how it stands, written every second for `cloudedge-detector status`
STATE/detector.lock                 held by the one detector of this state
STATE/link/                         its key, its edge server's certificate      (edge.detector.link)
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DetectorFolders:
    """The paths below one state directory."""

    state: Path

    @property
    def models(self) -> Path:
        """Models that were deployed, by brand."""
        return self.state / "models"

    @property
    def deployments(self) -> Path:
        """How the last deployments stand."""
        return self.state / "deployments.json"

    @property
    def wishes(self) -> Path:
        """The brand that runs, and what is being taught."""
        return self.state / "wishes.json"

    @property
    def spool(self) -> Path:
        """Images that are kept."""
        return self.state / "spool"

    @property
    def status(self) -> Path:
        """How the detector stands."""
        return self.state / "status.json"

    @property
    def link(self) -> Path:
        """What belongs to the link to the line's edge server."""
        return self.state / "link"

    @property
    def lock(self) -> Path:
        """Held by the one detector of this state."""
        return self.state / "detector.lock"
