"""Where a pipeline step finds the store, the inboxes and MLflow: environment variables, set by the engine or the cluster."""

import os
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from cloud.inboxes import Inboxes, open_inboxes
from cloud.stores import open_store
from cloudedge.errors import InvalidInput
from cloudedge.store import Store

_PLUGIN = "KFP_MLFLOW_CONFIG"
"""Only Kubeflow's MLflow plugin sets it: MLflow's other variables may have been left in a shell, for other work."""


class Settings(BaseSettings):
    """Each field is read from the variable CLOUDEDGE_<NAME>."""

    model_config = SettingsConfigDict(env_prefix="CLOUDEDGE_", frozen=True, extra="ignore")

    store: str = Field(description="The object store: file:///folder, or http(s)://host[:port]/bucket[/prefix] of an S3.")
    store_for_edges: str = Field(
        default="", description="http(s)://host[:port] by which edges reach the same S3; empty: as the steps do."
    )
    inboxes: str = Field(
        description="The edges' inboxes: file:///folder with a mounted directory per edge, or configmaps://namespace."
    )
    scratch: Path = Field(
        description="Folder for checkpoints of pretraining and for downloads; survives a restart of the step."
    )
    tracking_uri: str = Field(
        default="",
        description="MLflow's address; empty: that of Kubeflow's MLflow plugin. Without that either the step only keeps its "
        "records, and the laptop's engine relays them.",
    )
    registry_uri: str = Field(
        default="", description="MLflow's address for looking up registered models; empty: the same as tracking_uri."
    )
    run_of_kubeflow: str = Field(
        default="",
        validation_alias="MLFLOW_RUN_ID",
        description="MLflow's id of the run that Kubeflow's plugin made for this task; empty: none.",
    )
    experiment: str = Field(default="cloudedge", description="MLflow experiment.")
    actor: str = Field(default="pipeline", description="Who acts, for the operation log.")
    poll_seconds: float = Field(default=0.1, gt=0, description="Time between two looks at the store while waiting, in seconds.")

    patience_seconds: float = Field(
        default=120, gt=0, description="How long a store or an API server that does not answer is asked again, in seconds."
    )

    @field_validator("tracking_uri")
    @classmethod
    def _or_the_plugins(cls, address: str) -> str:
        return address or (os.environ.get("MLFLOW_TRACKING_URI", "") if _PLUGIN in os.environ else "")

    @field_validator("run_of_kubeflow")
    @classmethod
    def _by_the_plugin(cls, run: str) -> str:
        return run if _PLUGIN in os.environ else ""

    def __init__(self, **values: Any) -> None:
        """Read the environment.

        Raises:
            InvalidInput: a variable is missing or wrong; all of them are named.
        """
        try:
            super().__init__(**values)
        except ValidationError as error:
            faults = [f"  - CLOUDEDGE_{str(fault['loc'][0]).upper()}: {fault['msg']}" for fault in error.errors()]
            raise InvalidInput("\n".join(["A pipeline step finds its place by the environment; set these:", *faults])) from None

    @property
    def tells_mlflow(self) -> bool:
        """Whether an MLflow is told of a run: by the step, or on a laptop by its engine."""
        return bool(self.tracking_uri) or self.store.startswith("file:")

    def open_store(self) -> Store:
        """The object store.

        Raises:
            InvalidInput: the address is of no known kind, or its credentials are missing.
        """
        return open_store(
            self.store, for_edges=self.store_for_edges, scratch=self.scratch, patience_seconds=self.patience_seconds
        )

    def open_inboxes(self) -> Inboxes:
        """The edges' inboxes.

        Raises:
            InvalidInput: the address is of no known kind, or there is no cluster.
        """
        return open_inboxes(self.inboxes, patience_seconds=self.patience_seconds)
