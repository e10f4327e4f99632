"""What the tests of `colo-proxy compare` share."""

import json
from pathlib import Path
from typing import Any

import pytest

from colo_proxy.cli.main import main

from .frames import VM, Compared, Timed, pcap


@pytest.fixture
def compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Compared:
    """Exit status and verdict on two captures, given as frames or as the bytes of a file."""

    def of(pvm: list[Timed] | bytes, svm: list[Timed] | bytes, vm: str = VM) -> tuple[int, dict[str, Any]]:
        paths = []
        for name, content in (("pvm.pcap", pvm), ("svm.pcap", svm)):
            paths.append(tmp_path / name)
            paths[-1].write_bytes(content if isinstance(content, bytes) else pcap(content))
        status = main(["compare", *map(str, paths), "--vm-mac", vm, "--json"])
        return status, json.loads(capsys.readouterr().out)

    return of
