"""What searching on devices leaves in the store."""

from pydantic import Field

from cloud.runs.run import OfAnOrder, Run
from cloud.searches.meta_models import MetaModelRecord
from cloudedge.documents import order_id, parse
from cloudedge.documents.automl import MAX_SEARCH_BYTES, SearchRecord
from cloudedge.documents.base import Document, Part
from cloudedge.documents.deployable import Deployable
from cloudedge.documents.kinds.search import Searched
from cloudedge.errors import InvalidInput

SEARCH = "search"
"""Name of the step in which devices search."""

MODEL, DEPLOYABLE, DONE = "model", "deployable", "search"
"""Names of the outputs of the work to search."""


class RankedDevice(Part):
    """What came of a device's search."""

    result: Searched = Field(description="What the device says.")
    deployable: Deployable | None = Field(default=None, description="Its model's manifest; none: it has no model.")
    fault: str = Field(default="", max_length=2000, description="Why its model is not taken; empty: it is, or there is none.")

    @property
    def words(self) -> str:
        """What came of it, in words."""
        return f"Its model is not taken: {self.fault}" if self.fault else self.result.words


class Ranking(Document):
    """The devices' results side by side."""

    devices: dict[str, RankedDevice] = Field(description="By the devices' names.")
    best: str = Field(default="", description="Device whose model is the most accurate one; empty: there is no model.")


def meta_model_key(run: Run) -> str:
    """Key of the record of the meta model that leads a run's searches."""
    return run.key("meta-model.json")


def used_meta_model(run: Run) -> MetaModelRecord | None:
    """The meta model of a run's searches, once it is settled."""
    return run.find(MetaModelRecord, meta_model_key(run))


def ranking_of(run: Run) -> Ranking | None:
    """The devices' results, once they were compared."""
    return run.find(Ranking, run.key("ranking.json"))


def search_of(run: Run, order: OfAnOrder) -> SearchRecord:
    """All that a device's search did.

    Raises:
        NotFound: it has not delivered.
        InvalidInput: the file is another than its manifest says, or no search, or that of another order.
    """
    content = run.output(order, DONE, MAX_SEARCH_BYTES)
    found = parse(SearchRecord, content, f"The search of {order.edge}", MAX_SEARCH_BYTES)
    wanted = order_id(run.id, order.step, order.edge, order.attempt)
    if found.row and (found.row.id, found.row.device) != (wanted, order.edge):
        raise InvalidInput(f"The search of {order.edge} is {found.row.id} on {found.row.device}, not {wanted}.")
    return found
