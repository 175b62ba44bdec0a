"""The operation log: who did what, when."""

from typing import Any

from pydantic import AwareDatetime, Field

from cloudedge.documents.base import Document
from cloudedge.names import NAME


class Event(Document):
    """One operation on a run."""

    run: str = Field(pattern=NAME, description="Run.")
    at: AwareDatetime = Field(description="When, by the clock of who did it.")
    actor: str = Field(max_length=200, description="Who: a person's account, a pipeline step, or an edge.")
    action: str = Field(pattern=r"^[a-z-]{1,40}$", description="What: created, pretrained, dispatched, cancelled, fused, ...")
    details: dict[str, Any] = Field(default_factory=dict, description="On what, with which figures.")
