"""What an edge says of its work once it is done."""

import json
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, model_validator

from cloudedge.documents import earlier
from cloudedge.documents.base import Told, Versioned
from cloudedge.documents.kinds import Result, any_of
from cloudedge.documents.order import Order
from cloudedge.documents.report import MOST_MODELS, Count, Name, Points, Seconds, Text, at_most
from cloudedge.names import FILE_NAME, NAME, ORDER_ID, SHA256

if TYPE_CHECKING:
    AnyResult = Result
else:
    AnyResult = any_of("RESULT")

MAX_MANIFEST_BYTES = 4 * 1024 * 1024


class OutputFile(Told):
    """A file that work made."""

    file: str = Field(default="model.safetensors", pattern=FILE_NAME, description="Its name at the edge, beside the manifest.")
    sha256: str = Field(pattern=SHA256, description="Digest of its bytes.")
    size: Count = Field(description="Its length in bytes.")


class Manifest(Versioned, Told):
    """The commit mark of a result: written last. A result without it does not exist."""

    order: str = Field(pattern=ORDER_ID, description="Id of the order.")
    edge: str = Field(pattern=NAME, description="Edge.")
    outputs: Annotated[dict[Name, OutputFile], at_most(MOST_MODELS)] = Field(
        default_factory=dict,
        max_length=MOST_MODELS,
        description="The files that the work made, by their names in the order; 'history' has the points.",
    )
    points: Count = Field(default=0, description="Number of the points, sequence 0 to the last one.")
    history: Points = Field(
        default=(),
        exclude_if=lambda history: not history,
        description="The points themselves, where the order has no place for a file of them, as up to version 0.1.",
    )
    result: AnyResult = Field(description="What the work came to, by its kind.")
    seconds: Seconds = Field(description="Duration of the work.")
    runner_version: Text = Field(default="", max_length=100, description="Version of the runner's software.")

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_versions(cls, value: Any) -> Any:
        return earlier.manifest(value)

    def to_json_for(self, order: Order) -> bytes:
        """As whoever issued the order reads it: a cloud of version 0.1 knows only the form of its time."""
        if order.schema_version > 1:
            return self.to_json()
        value = earlier.manifest_as_of_version_1(self.model_dump(mode="json"), order.model_dump(mode="json"))
        return json.dumps(value, indent=2).encode() + b"\n"
