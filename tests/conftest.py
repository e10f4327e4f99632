"""For all tests: none is timed. A busy machine would fail what is right, and speed belongs to bench/."""

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# Of two processes that share the tests (`make test`), one runs all of these: they meet on the machine's
# interfaces and processes, and each is an ensemble of processes already.
ON_THE_MACHINE = frozenset({"lab", "peers", "vm"})


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what starts labs and virtual machines into one group of pytest-xdist."""
    here = Path(__file__).parent
    for item in items:
        if item.path.relative_to(here).parts[0] in ON_THE_MACHINE:
            item.add_marker(pytest.mark.xdist_group("on the machine"))
