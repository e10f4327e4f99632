"""`colo-proxy top`: a live view of a running proxy, over the whole terminal."""

import argparse
import codecs
import contextlib
import enum
import errno
import io
import os
import select
import signal
import sys
import termios
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

from colo_proxy.cli import target
from colo_proxy.cli.parsers import CommandParser, seconds
from colo_proxy.control.client import Client
from colo_proxy.errors import ControlError, UserError

_ANSWER_S = 2.0  # a proxy that takes longer is said to be gone
_QUIT = b"qQ\x04"  # Ctrl-D; Ctrl-C is a signal
_CANNOT = ("", "dumb", "unknown")  # terminals that have no cursor to move
_INSTEAD = "colo-proxy-top"
_PLAIN = {"█": "#", "·": ".", "–": "-", "µ": "u", "…": "~", "×": "x"}  # what a screen has beyond ASCII


def add_parser(subparsers: "argparse._SubParsersAction[CommandParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "top",
        help="watch a running proxy",
        description="Watch a running proxy: its state, throughput, how long output is held, checkpoints and "
        "their reasons, the flows and services that diverge most. q or Ctrl-C quits. If the proxy "
        "stops, top shows that and waits until it runs again.",
        examples=(
            ("colo-proxy top web1.toml", "q ends it"),
            ("ssh -t host colo-proxy top --interval 5", "over a slow connection"),
        ),
    )
    target.add_arguments(parser, json_too=False)
    parser.add_argument(
        "--interval",
        type=seconds(0.1, 60),
        default=1.0,
        metavar="S",
        help="seconds between updates, 0.1 to 60 (1)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show it until a key or a signal ends it. A proxy that is not there at first is an error."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UserError("top needs a terminal; programs can use: colo-proxy status --json")
    if (term := os.environ.get("TERM", "")) in _CANNOT:
        raise UserError(
            f"top cannot draw on this terminal (TERM={term}); use colo-proxy status or colo-proxy events"
        )
    source = _Source(target.socket_of(arguments))
    source.look()
    if source.gone:
        raise ControlError(f"{source.name}: {source.gone}")
    if isinstance(sys.stdout, io.TextIOWrapper):
        codecs.register_error(_INSTEAD, _instead)
        sys.stdout.reconfigure(errors=_INSTEAD)
    with contextlib.suppress(KeyboardInterrupt), _keys() as keys:
        while _show(source, arguments.interval, keys) is not Ended.QUIT:
            keys.give_way()
    return 0


def _instead(error: UnicodeError) -> tuple[str, int]:
    """For what the terminal's encoding does not have: as many letters that it has."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    return "".join(_PLAIN.get(letter, "?") for letter in lost), error.end


def _show(source: "_Source", interval: float, keys: "_Keys") -> "Ended":
    """Show it until a key quits, or the terminal is wanted by somebody else, or has been in other hands."""
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
                source.happened.latest(),
                name=source.name,
                gone=source.gone,
                interval=interval,
                width=size.width,
                height=size.height,
            )
            live.update(Group(*lines), refresh=True)
            ended = keys.wait(interval)
            if ended in (Ended.QUIT, Ended.AWAY):
                return ended
            if ended is Ended.TIME:
                source.look()


class _Source:
    """The proxy that is watched, through its restarts."""

    def __init__(self, path: str) -> None:
        from colo_proxy.top.rates import Figures, History, Look  # noqa: PLC0415
        from colo_proxy.top.recent_events import Happened  # noqa: PLC0415

        self._path = path
        self._client: Client | None = None
        self._history = History()
        self.last: Look | None = None
        self.figures: Figures | None = None
        self.happened = Happened()
        self.name = path
        self.gone: str | None = None  # why it does not answer

    def look(self) -> None:
        """Ask once; what cannot be had is told in `gone`, and asked for again by the next call."""
        from colo_proxy.top.rates import History, Look  # noqa: PLC0415

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
            self.happened.interrupted()
            return
        self.gone = None
        for event in self._client.taken():
            self.happened.take(event)
        self._history.add(self.last)
        self.figures = self._history.figures()


class Ended(enum.Enum):
    """What ended a wait."""

    TIME = enum.auto()
    QUIT = enum.auto()
    RESIZED = enum.auto()
    AWAY = enum.auto()  # we are to stop (Ctrl-Z), or have been stopped and run again


class _Keys:
    """Single keys and signals from the terminal, and its modes. For one thread, the main one."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._before = termios.tcgetattr(fd)
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._told: set[int] = set()  # signals
        self._handlers = {
            number: signal.signal(number, self._tell)
            for number in (signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH)
            if signal.getsignal(number) is not signal.SIG_IGN  # a shell without job control
        }

    def _tell(self, number: int, _: FrameType | None) -> None:
        """A handler: it may come in the middle of drawing, so it leaves the rest to `wait`."""
        # As in the kernel, who is to stop is not to go on any more, and the reverse.
        self._told -= {signal.SIGTSTP, signal.SIGCONT}
        self._told.add(number)
        os.eventfd_write(self._bell, 1)

    def wait(self, seconds: float) -> Ended:
        """Wait so long for a key that quits, or for a signal."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            ready, _, _ = select.select([self._fd, self._bell], [], [], left)
            if self._bell in ready:
                os.eventfd_read(self._bell)
            if self._told & {signal.SIGTSTP, signal.SIGCONT}:
                return Ended.AWAY
            if self._told:
                self._told.clear()
                return Ended.RESIZED
            if self._fd in ready:
                pressed = os.read(self._fd, 64)
                if not pressed or any(key in _QUIT for key in pressed):
                    return Ended.QUIT
        return Ended.TIME

    def single(self) -> None:
        """Hand on each key as it is pressed."""
        mode: list[Any] = [*self._before[:6], [*self._before[6]]]
        mode[3] &= ~(termios.ECHO | termios.ICANON)
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        self._set(mode)

    def give_way(self) -> None:
        """Leave the terminal as it was found, and stop, if that is wanted, until somebody lets us go on."""
        if signal.SIGTSTP in self._told:
            self.restore()
            handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTSTP)
            signal.signal(signal.SIGTSTP, handler)
        self.single()
        self._told.clear()

    def restore(self) -> None:
        """Leave the terminal as it was found."""
        self._set(self._before)

    def _set(self, mode: list[Any]) -> None:
        while True:
            try:
                termios.tcsetattr(self._fd, termios.TCSADRAIN, mode)
            except termios.error as error:
                if error.args[0] == errno.EINTR:  # somebody stopped us for it: we were in the background
                    continue
            return  # the terminal is ours again, or gone

    def close(self) -> None:
        """Let signals do again what they did."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        os.close(self._bell)


@contextlib.contextmanager
def _keys() -> Iterator[_Keys]:
    """Single keys instead of lines, and a terminal that is as it was afterwards, whatever ends us."""

    def ended(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    handlers = {number: signal.signal(number, ended) for number in (signal.SIGTERM, signal.SIGHUP)}
    keys = _Keys(sys.stdin.fileno())
    try:
        keys.single()
        yield keys
    finally:
        keys.restore()
        keys.close()
        for number, handler in handlers.items():
            signal.signal(number, handler)
