"""What holds for all tests: hypothesis does not look at the clock, and finds the same examples each time in CI."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "cloudedge", deadline=None, derandomize="CI" in os.environ, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("cloudedge")
