"""Fixtures for tests on real kernel networking. All traffic stays in namespaces that the test makes."""

import os

import pytest
from colo_lab.errors import Missing
from colo_lab.kernel import new_namespace


def _missing() -> str | None:
    try:
        os.close(new_namespace())
    except OSError as error:
        return f"network namespaces cannot be made here ({error}): run as root"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything here `lab`; skip it, saying why, where the machine forbids it. In CI nothing skips."""
    missing = _missing()
    for item in items:
        if "/tests/lab/" in item.path.as_posix():
            item.add_marker(pytest.mark.lab)
            if missing and os.environ.get("CI") != "true":
                item.add_marker(pytest.mark.skip(reason=missing))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item):  # type: ignore[no-untyped-def]
    try:
        return (yield)
    except Missing as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
