"""Hypothesis profiles: `ci`, some two minutes, and `fuzz` (`make fuzz EXAMPLES=10000`)."""

import os

from hypothesis import HealthCheck, settings

for name, examples in (("ci", 1500), ("fuzz", int(os.environ.get("EXAMPLES", "10000")))):
    settings.register_profile(
        name,
        max_examples=examples,
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
