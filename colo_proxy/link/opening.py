"""The opening: what both hosts must agree on before a stream carries records. No I/O.

Each host sends its opening, judges the other's, and sends its verdict. The stream is open for a host when
its own verdict and the other's are to accept. These two messages are the same in every version of the
link: 4 bytes of length, big-endian, and a JSON object, whose unknown keys are ignored, so that a newer
proxy can speak to an older one.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

VERSIONS = (1,)  # of the link, spoken by this proxy
MOST = 4096  # bytes of a message
PREFIX = 4  # bytes of its length
_TEXT = 200  # characters of a reason
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_NAME = re.compile(r"[!-~]{1,64}")
_SHAPES = {
    "cluster": _NAME,
    "name": _NAME,
    "host": _NAME,
    "configuration": re.compile(r"[0-9a-f]{64}"),
}


class Refused(Exception):
    """The other host is refused, or refuses: why, in one line for an operator."""


class Opening(NamedTuple):
    """What a host says of itself."""

    cluster: str
    name: str  # of the proxy: the same on both hosts
    host: str
    pairing: str | None  # a UUID
    g: int  # the highest generation of the right to speak that it knows; told, not judged
    configuration: str  # `digest`
    versions: tuple[int, ...] = VERSIONS


def digest(nics: Sequence[Sequence[str]], policies: Sequence[Mapping[str, Any]]) -> str:
    """SHA-256 of what both hosts must be configured alike in: each NIC's MAC addresses, and the policies."""
    return hashlib.sha256(
        json.dumps([list(map(list, nics)), list(map(dict, policies))], sort_keys=True).encode()
    ).hexdigest()


def encode(opening: Opening) -> bytes:
    """The message, with its length."""
    return _message({"colo-proxy-link": list(opening.versions), **opening._asdict()}, without="versions")


def decode(message: bytes) -> Opening:
    """The opening in a message, without its length. Raises Refused."""
    found = _object(message)
    versions = found.get("colo-proxy-link")
    if not isinstance(versions, list) or not 0 < len(versions) <= 16 or not all(map(_is_number, versions)):
        raise Refused("it does not say which versions of the link it speaks")
    for key, shape in _SHAPES.items():
        if not isinstance(found.get(key), str) or not shape.fullmatch(found[key]):
            raise Refused(f"its opening has no valid {key}")
    pairing, g = found.get("pairing"), found.get("g")
    if pairing is not None and (not isinstance(pairing, str) or not re.fullmatch(_UUID, pairing)):
        raise Refused("its opening has no valid pairing")
    if not isinstance(g, int) or not (g == 0 or _is_number(g)):
        raise Refused("its opening has no valid g")
    return Opening(
        found["cluster"], found["name"], found["host"], pairing, g, found["configuration"], tuple(versions)
    )


def judge(mine: Opening, theirs: Opening, peer_host: str) -> int:
    """The version that is spoken: the highest that both know. Raises Refused."""
    common = set(mine.versions) & set(theirs.versions)
    if not common:
        newer, older = (
            ("it", "this host") if max(theirs.versions) > max(mine.versions) else ("this host", "it")
        )
        raise Refused(
            f"{newer} speaks versions {_list(theirs if newer == 'it' else mine)} of the link, {older} "
            f"{_list(mine if newer == 'it' else theirs)}: upgrade the older proxy"
        )
    for what, my, its in (
        ("host", peer_host, theirs.host),
        ("cluster", mine.cluster, theirs.cluster),
        ("name", mine.name, theirs.name),
        ("pairing", mine.pairing, theirs.pairing),
    ):
        if my != its:
            raise Refused(f"its {what} is {its or 'none'}, expected {my or 'none'}")
    if mine.configuration != theirs.configuration:
        raise Refused(
            "its NICs, their MAC addresses or its policies differ from this host's: compare both files"
        )
    return max(common)


def accept(version: int) -> bytes:
    """The verdict: this version is spoken."""
    return _message({"accept": version})


def refuse(why: str) -> bytes:
    """The verdict: no stream."""
    return _message({"refuse": "".join(each if " " <= each <= "~" else "?" for each in why[:_TEXT])})


def accepted(message: bytes, version: int) -> None:
    """Take the other host's verdict. Raises Refused."""
    found = _object(message)
    why = found.get("refuse")
    if isinstance(why, str) and 0 < len(why) <= _TEXT and why.isascii() and why.isprintable():
        raise Refused(f"it refuses this host: {why}")
    if type(found.get("accept")) is not int or found["accept"] != version:
        raise Refused("it has sent no verdict")


def size(prefix: bytes) -> int:
    """The length of the message that follows. Raises Refused."""
    found = int.from_bytes(prefix)
    if not 0 < found <= MOST:
        raise Refused("what it sends is not the link of a colo-proxy")
    return found


def _message(found: dict[str, Any], without: str = "") -> bytes:
    found.pop(without, None)
    data = json.dumps(found, separators=(",", ":")).encode()
    if len(data) > MOST:
        raise ValueError(f"an opening has {MOST} bytes at most")
    return len(data).to_bytes(PREFIX) + data


def _object(message: bytes) -> dict[str, Any]:
    try:
        found = json.loads(message.decode("ascii"))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Refused("what it sends is not the link of a colo-proxy")
    return found


def _is_number(value: object) -> bool:
    return type(value) is int and 0 < value < 2**53


def _list(opening: Opening) -> str:
    return ", ".join(map(str, sorted(opening.versions)))
