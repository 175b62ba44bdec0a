"""How the desired state of an edge gets to it."""

from cloud.inboxes.address import open_inboxes
from cloud.inboxes.base import Inboxes, MakeOrders, UnusableInbox, require_size, usable, write_orders
from cloud.inboxes.directory import DirectoryInboxes

__all__ = [
    "DirectoryInboxes",
    "Inboxes",
    "MakeOrders",
    "UnusableInbox",
    "open_inboxes",
    "require_size",
    "usable",
    "write_orders",
]
