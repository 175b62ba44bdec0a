"""From a dispatch to its number of orders."""

from components.dispatch.step import dispatch_round
from components.shared.doors import door

run_dispatch = door(dispatch_round)
