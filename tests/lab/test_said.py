"""What the lab's programs say to people: no traceback for Ctrl-C or a reader that has gone, any encoding."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from colo_lab import markers

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
SHOW = """
import colo_lab.screen
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
colo_lab.screen.any_encoding()
console = colo_lab.screen.console()
console.print("[bold]\\u2713 \\u2026[/] " + "wide " * 40)
table = Table("ms", "what", box=None)
table.add_row("1", "short")
table.add_row("2", "longer than that")
console.print(table)
with Progress(TextColumn("  x"), BarColumn(40), console=console) as progress:
    progress.update(progress.add_task("", total=2), completed=2)
"""


@contextmanager
def downloading() -> Iterator[tuple["subprocess.Popen[bytes]", socket.socket]]:
    """The client in mid-download, after its first words; and its server's side."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        process = subprocess.Popen(
            [sys.executable, "-m", "colo_lab.client", url, "--marks", "1"],
            env={**os.environ, "PYTHONPATH": str(markers.PACKAGE_ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(HEAD + b"x")
                assert process.stdout
                assert process.stdout.readline()
                yield process, peer
        finally:
            process.kill()
            process.wait()
            for stream in (process.stdout, process.stderr):
                if stream:
                    stream.close()


def test_the_client_ends_on_ctrl_c_without_a_word() -> None:
    with downloading() as (process, _):
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == -signal.SIGINT
        assert process.stderr
        assert process.stderr.read() == b""


def test_the_client_ends_without_a_word_when_nobody_listens_to_it() -> None:
    with downloading() as (process, peer):
        assert process.stdout
        process.stdout.close()
        peer.sendall(b"x")
        assert process.wait(10) == 1
        assert process.stderr
        assert process.stderr.read() == b""


@pytest.mark.parametrize("utf8", [True, False])
def test_piped_and_in_any_encoding(utf8: bool) -> None:
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", SHOW],
        env={
            **os.environ,
            "PYTHONPATH": str(markers.PACKAGE_ROOT),
            **({"PYTHONUTF8": "1"} if utf8 else plain),
        },
        capture_output=True,
        check=False,
    )
    assert done.stderr == b""
    lines = done.stdout.decode("utf-8" if utf8 else "ascii").split("\n")
    assert lines[0].startswith("✓ …" if utf8 else "? ?")
    assert lines[0].count("wide") == 40, "wrapped"
    assert len(lines) == 6
    assert [line for line in lines if line != line.rstrip()] == []
