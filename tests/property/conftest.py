"""Hypothesis profiles: `ci`, always the same conversations, and `fuzz`, others each time."""

import os

from hypothesis import HealthCheck, settings

for name, examples in (("ci", 2000), ("fuzz", int(os.environ.get("EXAMPLES", "10000")))):
    settings.register_profile(
        name,
        max_examples=examples,
        derandomize=name == "ci",  # no change fails by the luck of the draw
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
