"""`colo-proxy top`: a live view of a running proxy, over the whole terminal."""

import argparse
import contextlib
import os
import select
import signal
import sys
import termios
import time
import tty
from collections import deque
from collections.abc import Iterator
from types import FrameType
from typing import Any

from colo_proxy.cli import target
from colo_proxy.cli.parsers import CommandParser
from colo_proxy.control.client import Client
from colo_proxy.errors import ControlError, UserError

_ANSWER_S = 2.0  # a proxy that takes longer is said to be gone
_QUIT = b"qQ\x04"  # Ctrl-D; Ctrl-C is a signal
_EVENTS = 50


def add_parser(subparsers: "argparse._SubParsersAction[CommandParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "top",
        help="watch a running proxy",
        description="Watch a running proxy: its state, throughput, how long output is held, checkpoints and "
        "their reasons, the flows and services that diverge most. q or Ctrl-C quits. Where the proxy goes "
        "away, top says so and waits for it to come back.",
        examples=(
            ("colo-proxy top web1.toml", "q ends it"),
            ("ssh -t host colo-proxy top --interval 5", "over a slow line"),
        ),
    )
    target.add_arguments(parser, json_too=False)
    parser.add_argument(
        "--interval", type=_seconds, default=1.0, metavar="S", help="seconds between two looks, 0.1 to 60 (1)"
    )
    parser.set_defaults(run=run)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 60:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0.1 to 60")
    return seconds


def run(arguments: argparse.Namespace) -> int:
    """Show it until a key or a signal ends it. A proxy that is not there at first is an error."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UserError("top needs a terminal; for programs there is: colo-proxy status --json")
    source = _Source(target.socket_of(arguments))
    source.look()
    if source.gone:
        raise ControlError(f"{source.name}: {source.gone}")
    with contextlib.suppress(KeyboardInterrupt), _keys() as quit_within:
        _show(source, arguments.interval, quit_within)
    return 0


def _show(source: "_Source", interval: float, quit_within: "_Wait") -> None:
    from rich.console import Console, Group  # noqa: PLC0415
    from rich.live import Live  # noqa: PLC0415

    from colo_proxy.top.screen import screen  # noqa: PLC0415

    console = Console(highlight=False)
    with Live(console=console, screen=True, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            size = console.size
            lines = screen(
                source.last,
                source.figures,
                list(source.events),
                name=source.name,
                gone=source.gone,
                interval=interval,
                width=size.width,
                height=size.height,
            )
            live.update(Group(*lines), refresh=True)
            if quit_within(interval):
                return
            source.look()


class _Source:
    """The proxy that is watched, through its restarts."""

    def __init__(self, path: str) -> None:
        from colo_proxy.top.figures import Figures, History, Look  # noqa: PLC0415

        self._path = path
        self._client: Client | None = None
        self._history = History()
        self.last: Look | None = None
        self.figures: Figures | None = None
        self.events: deque[dict[str, Any]] = deque(maxlen=_EVENTS)
        self.name = path
        self.gone: str | None = None  # why it does not answer

    def look(self) -> None:
        """Ask once; what cannot be had is told in `gone`, and asked for again by the next call."""
        from colo_proxy.top.figures import History, Look  # noqa: PLC0415

        try:
            if self._client is None:
                self._client = Client(self._path, _ANSWER_S)
                self._history = History()
                self.name = str(self._client.greeting["name"])
            status = self._client.execute("query-status")
            self.last = Look(time.monotonic(), status, self._client.execute("query-stats"))
        except ControlError as error:
            self.gone = str(error).removeprefix(f"{self._path}: ")
            if self._client:
                self._client.close()
            self._client = None
            return
        self.gone = None
        self.events.extend(self._client.taken())
        self._history.add(self.last)
        self.figures = self._history.figures()


class _Wait:
    """Waits for a key that quits. Called with seconds; true: quit."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __call__(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            ready, _, _ = select.select([self._fd], [], [], left)
            if ready:
                pressed = os.read(self._fd, 64)
                if not pressed or any(key in _QUIT for key in pressed):
                    return True
        return False


@contextlib.contextmanager
def _keys() -> Iterator[_Wait]:
    """Single keys instead of lines, and a terminal that is as it was afterwards, whatever ends us."""

    def ended(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    handlers = {number: signal.signal(number, ended) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        tty.setcbreak(fd)
        yield _Wait(fd)
    finally:
        with contextlib.suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(fd, termios.TCSADRAIN, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
