"""Which running proxy a command talks to: `--socket PATH`, a configuration file, or the only one there is."""

import argparse
import json
import socket
import stat
import tomllib
from pathlib import Path

from colo_proxy.control.client import Client
from colo_proxy.display.characters import printable
from colo_proxy.errors import ControlError, Unreachable

RUNTIME = Path("/run/colo-proxy")
_SHOWN = 8  # names in a message


def add_arguments(parser: argparse.ArgumentParser, *, json_too: bool = True) -> None:
    """The options that every command with a running proxy takes."""
    parser.add_argument(
        "config",
        nargs="?",
        metavar="CONFIG.toml",
        help=f"the proxy's configuration (default: the only proxy in {RUNTIME})",
    )
    parser.add_argument("--socket", metavar="PATH", help="the proxy's control socket")
    if json_too:
        parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def connect(arguments: argparse.Namespace, timeout: float = 10.0) -> Client:
    """Connect to the proxy that the arguments name. Raises ControlError."""
    return Client(socket_of(arguments), timeout)


def print_json(value: object) -> None:
    """Print a value for programs: one line."""
    print(json.dumps(value), flush=True)


def socket_of(arguments: argparse.Namespace) -> str:
    """The control socket that the arguments name. Raises ControlError."""
    if arguments.socket:
        return str(arguments.socket)
    if arguments.config:
        return _from_config(Path(arguments.config))
    found = sorted(path for path in RUNTIME.glob("*.sock") if not _dead(path))
    if len(found) == 1:
        return str(found[0])
    what = "no proxy runs" if not found else f"{len(found)} proxies run"
    names = f" ({', '.join(printable(path.name) for path in found[:_SHOWN])}{', …' * (len(found) > _SHOWN)})"
    raise (ControlError if found else Unreachable)(
        f"{what} with a control socket in {RUNTIME}{names if found else ''}; "
        "name the proxy: its CONFIG.toml, or --socket PATH"
    )


def _dead(path: Path) -> bool:
    """Left by a proxy that was killed: nobody listens there."""
    with socket.socket(socket.AF_UNIX) as trial:
        trial.settimeout(1)
        try:
            trial.connect(str(path))
        except ConnectionRefusedError:
            return True
        except OSError:  # no permission, perhaps: the command will say so
            return False
    return False


def _from_config(path: Path) -> str:
    """Only the one key is read: the rest was judged by the proxy when it started."""
    try:
        if stat.S_ISSOCK(path.stat().st_mode):
            return str(path)
        proxy = tomllib.loads(path.read_text()).get("proxy", {})
    except OSError as error:
        raise ControlError(
            f"{path}: {error.strerror}; name the proxy's CONFIG.toml, or --socket PATH"
        ) from None
    except (ValueError, RecursionError):
        raise ControlError(f"{path}: not a TOML file; 'colo-proxy check {path}' shows where") from None
    if not isinstance(proxy, dict):
        proxy = {}
    return str(proxy.get("control", RUNTIME / f"{proxy.get('name', path.stem)}.sock"))
