"""A laptop's run to compare with."""

from tests.e2e.conftest import flat, samples

__all__ = ["flat", "samples"]
