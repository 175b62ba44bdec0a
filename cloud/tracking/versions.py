"""Which run a registered model's version is of."""

import re
from typing import NamedTuple

from cloud.tracking.client import connect, mlflow_errors
from cloud.tracking.registry import SHA256_TAG
from cloud.tracking.runs import RUN_TAG
from cloudedge.errors import InvalidInput, NotFound

_VERSION = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]{0,249})(/(?P<version>[0-9]{1,9})|@(?P<alias>[A-Za-z0-9_-]{1,255}))?")


class Version(NamedTuple):
    """A version of a registered model.

    Attributes:
        run: Id of the run that it is of.
        sha256: Digest of its file.
    """

    run: str
    sha256: str


def version_named(tracking_uri: str, version: str) -> Version:
    """A version of a registered model.

    Args:
        tracking_uri: MLflow's address.
        version: NAME/VERSION or NAME@ALIAS; a NAME alone is its champion.

    Raises:
        InvalidInput: it names no version.
        NotFound: there is no such version, or it is no model of ours.
        MlflowFailed: MLflow does not answer.
    """
    found = _VERSION.fullmatch(version)
    if found is None:
        raise InvalidInput(f"{version!r} names no model: give the id of a run, or NAME, NAME/VERSION or NAME@ALIAS.")
    with mlflow_errors(tracking_uri, "did not say which run a model is of"):
        from mlflow.exceptions import MlflowException

        client = connect(tracking_uri)
        try:
            if found["version"]:
                entity = client.get_model_version(found["name"], found["version"])
            else:
                entity = client.get_model_version_by_alias(found["name"], found["alias"] or "champion")
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            raise NotFound(
                f"MLflow has no registered model {version!r}, nor is there such a run ('cloudedge tasks list' lists them)."
            ) from None
        run = entity.tags.get(RUN_TAG)
    if not run:
        raise NotFound(f"The registered model {version!r} is of no run of cloudedge: it has no tag {RUN_TAG}.")
    return Version(str(run), str(entity.tags.get(SHA256_TAG, "")))
