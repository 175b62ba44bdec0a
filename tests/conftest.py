"""What holds for all tests: hypothesis does not look at the clock, and finds the same examples each time in CI."""

import os

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.tiers", "tests.browser", "tests.cluster.fixtures"]

settings.register_profile(
    "cloudedge", deadline=None, derandomize="CI" in os.environ, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("cloudedge")


def pytest_configure(config: pytest.Config) -> None:
    """Name the tests that run whole pipelines, so that they can be left out: -m 'not e2e'."""
    # Of a machine behind a proxy, which is not to be asked for servers of our own.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost,[::1]"
    config.addinivalue_line("markers", "e2e: runs whole pipelines in processes of their own; takes tens of seconds")
