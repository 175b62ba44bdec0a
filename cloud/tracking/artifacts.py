"""Where MLflow's artifacts lie, and whether this process can write them there.

A server that proxies them takes them by its API. Any other only says where they are to lie, and whoever logs a run writes them
there: by a package for that kind of place, or, if the place is a folder, on whatever disk that folder is on here.
"""

import importlib.util
from urllib.parse import urlsplit

from cloud.tracking.database import file_of
from cloud.tracking.faults import Fault

_PACKAGES = {
    "s3": {"boto3": "boto3"},
    "r2": {"boto3": "boto3"},
    "b2": {"boto3": "boto3"},
    "gs": {"google.cloud.storage": "google-cloud-storage"},
    "wasbs": {"azure.storage.blob": "azure-storage-blob", "azure.identity": "azure-identity"},
    "abfss": {"azure.storage.filedatalake": "azure-storage-file-datalake", "azure.identity": "azure-identity"},
    "hdfs": {"pyarrow": "pyarrow"},
    "viewfs": {"pyarrow": "pyarrow"},
    "sftp": {"pysftp": "pysftp", "paramiko": "paramiko"},
}
"""What MLflow imports for a kind of place: modules, and the packages that they are installed with."""

_SERVED = (
    "start MLflow's server with --artifacts-destination instead of --default-artifact-root, so that it writes them itself, and "
    "name an experiment in CLOUDEDGE_EXPERIMENT that it does not have yet, as those that it has keep their place"
)


def unwritable(place: str, tracking_uri: str) -> Fault | None:
    """Why artifacts cannot be written to a place from here; None if nothing says so.

    Args:
        place: Where MLflow says that a run's artifacts lie.
        tracking_uri: The MLflow that says so.
    """
    scheme = urlsplit(place).scheme
    if scheme in ("", "file"):
        if file_of(tracking_uri):  # The database is this machine's own, and so is the folder beside it.
            return None
        return Fault(
            f"its artifacts lie in the folder {place}, which here is on a step's own disk", f"{_SERVED}.", certain=True
        )
    missing = [package for module, package in _PACKAGES.get(scheme, {}).items() if not _there(module)]
    if missing:
        packages = " and ".join(missing)
        lacks = f"its artifacts lie at {place}, which is written from here, and this image lacks {packages}"
        return Fault(lacks, f"{_SERVED}; or use an image with {packages}.", certain=True)
    return None


def _there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # Nor is what it is in.
        return False
