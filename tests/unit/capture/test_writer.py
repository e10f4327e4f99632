"""Outputs that cannot be written, and errors that are not theirs."""

import errno
import os
import resource
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

import pytest

from colo_proxy.capture.writer import PcapWriter, output, whole_file
from colo_proxy.errors import UserError

Way = Callable[[Path], AbstractContextManager[BinaryIO]]


def use(path: Path, then: Callable[[BinaryIO], object], way: Way = output) -> None:
    with way(path) as file:
        file.write(b"something")
        then(file)


def fail(_: BinaryIO) -> None:
    raise OSError(errno.EIO, "the terminal")


def fill(file: BinaryIO) -> None:
    writer = PcapWriter(file)
    for _ in range(100):
        writer.write(0, bytes(1500))


@pytest.mark.parametrize("way", [whole_file, output])
def test_an_error_that_is_not_the_outputs_is_not_said_of_it(tmp_path: Path, way: Way) -> None:
    with pytest.raises(OSError, match="the terminal"):
        use(tmp_path / "out.pcap", fail, way)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="the terminal"):
        use(Path("/dev/null"), fail)


@pytest.mark.parametrize("then", [fill, lambda _: None])
def test_a_device_that_is_full(then: Callable[[BinaryIO], object]) -> None:
    """Noticed while it is written, or where it ends."""
    with pytest.raises(UserError, match="/dev/full: cannot be written: No space left"):
        use(Path("/dev/full"), then)


def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(UserError, match="cannot be written: File too large"):
            use(tmp_path / "out.pcap", fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_goes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(UserError, match="cannot be written: Broken pipe"):
        use(tmp_path / "pipe", lambda _: os.close(reader))
