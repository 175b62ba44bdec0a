"""How the desired state of an edge gets to it."""

from components.shared.inboxes.address import open_inboxes
from components.shared.inboxes.base import Inboxes, MakeOrders, write_orders
from components.shared.inboxes.directory import DirectoryInboxes

__all__ = ["DirectoryInboxes", "Inboxes", "MakeOrders", "open_inboxes", "write_orders"]
