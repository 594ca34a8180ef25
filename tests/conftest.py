"""What all tests share."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.testbed.fixtures"]

# A busy machine is no defect: nothing here fails because it took long.
settings.register_profile(
    "certrotd", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("certrotd")
