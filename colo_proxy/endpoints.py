"""Endpoints: where frames, or a VMM's words, come from and go to, as a user writes them.

`tap:NAME[,bridge=BR]` · `packet:IFNAME` · `unix:PATH` · `tcp:HOST:PORT` · `{ in = …, out = … }`, two sockets
that are one port. Parsing touches nothing of the host.
"""

import re
from dataclasses import dataclass

IFNAME_MAX = 15  # IFNAMSIZ - 1, linux/if.h
UNIX_PATH_MAX = 107  # sun_path less its NUL, unix(7)
# One of two hosts: as it stands in the record of the right to speak and in its certificate.
HOST_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,61}[A-Za-z0-9])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Tap:
    """A TAP that the proxy makes, owns and, with `bridge`, puts on that bridge."""

    name: str
    bridge: str | None = None

    def __str__(self) -> str:
        return f"tap:{self.name}" + (f",bridge={self.bridge}" if self.bridge else "")


@dataclass(frozen=True, slots=True)
class Packet:
    """An existing interface, through a packet socket."""

    name: str

    def __str__(self) -> str:
        return f"packet:{self.name}"


@dataclass(frozen=True, slots=True)
class Unix:
    """A UNIX stream socket."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True, slots=True)
class Tcp:
    """A TCP address; `host` without the brackets of an IPv6 address."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"tcp:{join_host_port(self.host, self.port)}"


@dataclass(frozen=True, slots=True)
class Split:
    """Two stream sockets: the proxy reads what comes in by one and writes what goes out by the other.

    QEMU's filter objects work that way: a chardev is either a filter-redirector's `outdev`, or one's `indev`.
    """

    inward: Unix | Tcp
    outward: Unix | Tcp

    def __str__(self) -> str:
        return f"in {self.inward} out {self.outward}"


Endpoint = Tap | Packet | Unix | Tcp | Split


def parts(endpoint: Endpoint) -> tuple[Endpoint, ...]:
    """The endpoint, or its two: what is read, what is written."""
    return (endpoint.inward, endpoint.outward) if isinstance(endpoint, Split) else (endpoint,)


_FORMS = "tap:NAME[,bridge=BR], packet:IFNAME, unix:PATH or tcp:HOST:PORT"


def parse(text: str) -> Endpoint:
    """Read an endpoint. Raises ValueError that says what is wrong and what to write instead."""
    kind, colon, rest = text.partition(":")
    if not colon or kind not in ("tap", "packet", "unix", "tcp"):
        raise ValueError(f"{text!r} is not an endpoint; write {_FORMS}")
    match kind:
        case "tap":
            return _parse_tap(rest)
        case "packet":
            if "," in rest:
                raise ValueError(f"{text!r} takes no options; bridge= goes with tap: only")
            return Packet(interface_name(rest))
        case "unix":
            return Unix(socket_path(rest))
        case _:
            return Tcp(*split_host_port(rest))


def _parse_tap(rest: str) -> Tap:
    name, *options = rest.split(",")
    bridge: str | None = None
    for option in options:
        key, _, value = option.partition("=")
        if key != "bridge":
            raise ValueError(f"{option!r} is not an option of tap:; write tap:NAME or tap:NAME,bridge=BR")
        if bridge is not None:
            raise ValueError("bridge= is given twice; a TAP is on one bridge at most")
        bridge = interface_name(value)
    tap = Tap(interface_name(name), bridge)
    if tap.bridge == tap.name:
        raise ValueError(f"{name!r} is the TAP and its bridge; they are two interfaces")
    return tap


def interface_name(name: str) -> str:
    """Check the name of a network interface by the kernel's rule (dev_valid_name). Raises ValueError."""
    if not name:
        raise ValueError("the interface's name is empty; write it after the colon")
    if len(name.encode()) > IFNAME_MAX:
        raise ValueError(f"the interface name {name!r} is longer than {IFNAME_MAX} bytes; use a shorter one")
    if name in (".", "..") or re.search(r"[/:\s\0%]", name) or not name.isprintable():
        raise ValueError(f"{name!r} cannot be an interface's name; use letters, digits, '-', '_' and '.'")
    return name


def socket_path(path: str) -> str:
    """Check the path of a UNIX socket. Raises ValueError."""
    if not path.startswith("/"):
        raise ValueError(f"the socket's path {path!r} is not absolute; begin it with /")
    if "\0" in path:
        raise ValueError("the socket's path has a NUL in it; remove it")
    if len(path.encode()) > UNIX_PATH_MAX:
        raise ValueError(
            f"the socket's path is {len(path.encode())} bytes long; the kernel takes {UNIX_PATH_MAX} at most"
        )
    return path


def split_host_port(text: str) -> tuple[str, int]:
    """Read `HOST:PORT` or `[IPV6]:PORT`. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError(f"{text!r} has no port; write HOST:PORT")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r}: put an IPv6 address in brackets, [{host}]:{port}")
    if not host or re.search(r"[\s\0\[\]/]", host):
        raise ValueError(f"{text!r} has no usable host; write HOST:PORT")
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise ValueError(f"{port!r} is not a port; use a number from 1 to 65535")
    return host, int(port)


def join_host_port(host: str, port: int) -> str:
    """The opposite of `split_host_port`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
