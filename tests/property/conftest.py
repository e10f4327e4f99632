"""Hypothesis profiles: `ci` (some two minutes) and `fuzz` (COLO_PROXY_FUZZ=1, for as long as it is let run)."""

import os

from hypothesis import HealthCheck, settings

COMMON = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
    "print_blob": True,
}
settings.register_profile("ci", max_examples=3000, derandomize=False, **COMMON)
settings.register_profile(
    "fuzz", max_examples=int(os.environ.get("COLO_PROXY_FUZZ", "0") or 0) or 100_000, **COMMON
)
settings.load_profile("fuzz" if os.environ.get("COLO_PROXY_FUZZ") else "ci")
