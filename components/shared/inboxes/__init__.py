"""How the desired state of an edge gets to it."""

from components.shared.inboxes.base import Inboxes, MakeOrders, write_orders
from components.shared.inboxes.directory import DirectoryInboxes

__all__ = ["DirectoryInboxes", "Inboxes", "MakeOrders", "write_orders"]
