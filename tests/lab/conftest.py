"""Fixtures for tests on real kernel networking. All traffic stays in namespaces that the test makes."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from colo_lab.errors import Missing
from colo_lab.kernel import new_namespace
from colo_lab.lab import Lab
from colo_lab.protected import Protected, protected
from colo_lab.topology import Uplink


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
def pytest_runtest_call(item: pytest.Item) -> Any:
    """What the machine lacks is a skip, save in CI."""
    try:
        return (yield)
    except Missing as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


@pytest.fixture
def no_lab_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs are looked for and made in a folder of the test's own, so that nobody else's lab is met."""
    with tempfile.TemporaryDirectory(prefix="lab-") as directory:
        monkeypatch.setenv("COLO_LAB_DIRECTORY", directory)
        yield


@pytest.fixture
def bridge() -> Iterator[Lab]:
    """A lab without a proxy: the PVM on the bridge itself."""
    with Lab(uplink=Uplink.BRIDGE) as lab:
        yield lab


@pytest.fixture
def protect() -> Callable[..., AbstractContextManager[Protected]]:
    """A context manager that brings a proxied lab up; keywords are those of `colo_lab.protected`.

    Missing output is waited for long: what `timeout_ms = "auto"` learns on an idle machine is too short where
    tests and builds compete for two cores.
    """

    @contextmanager
    def bring_up(**keywords: Any) -> Iterator[Protected]:
        keywords.setdefault("compare", {"timeout_ms": 3000})
        with protected(**keywords) as made:
            try:
                yield made
            except BaseException:
                print(made.proxy.log.read_text())  # pytest shows it with the failure
                raise

    return bring_up


@pytest.fixture
def pair(protect: Callable[..., AbstractContextManager[Protected]]) -> Iterator[Protected]:
    """A proxied lab with one NIC, protected."""
    with protect() as made:
        yield made
