"""What crosses between the proxy and the process that calls an endpoint of the store: lines of JSON.

Each line but the first is at most PIPE_BUF bytes, so it is written whole or not at all (pipe(7)).

| line | meaning |
| --- | --- |
| `{"lanes": 32, "etcd": [...]}` | the first: how many calls at once, the fields of the `EtcdPlace` |
| `{"lanes": 1, "directory": [...]}` | the first: the same with a `DirectoryPlace` |
| `{"number": 7}` | to the process: read |
| `{"number": 7, "expect": RECORD, "new": RECORD}` | to the process: swap; `expect` null: nothing |
| `{"number": 7, "record": RECORD}` | from it: what the store holds; null: nothing |
| `{"number": 7, "error": "..."}` | from it: the call has failed; what the store holds is unknown |

A RECORD is the text of its canonical bytes. Answers come in any order.
"""

import json
import select
from typing import Any

from colo_proxy.pair.actions import Read, Swap
from colo_proxy.pair.record import Record, decode, encode
from colo_proxy.pair.store import DirectoryPlace, EtcdPlace, Place

_LONGEST_ERROR = 400  # characters; each may become six bytes


def settings(place: Place, lanes: int) -> bytes:
    """The first line, which an empty pipe takes whole."""
    kind = "etcd" if isinstance(place, EtcdPlace) else "directory"
    return json.dumps({"lanes": lanes, kind: list(place)}).encode() + b"\n"


def read_settings(line: bytes) -> tuple[Place, int]:
    """Where the store is, and how many calls at once."""
    first = json.loads(line)
    place: Place = EtcdPlace(*first["etcd"]) if "etcd" in first else DirectoryPlace(*first["directory"])
    return place, first["lanes"]


def request(number: int, question: Read | Swap) -> bytes:
    """A call to make."""
    if isinstance(question, Read):
        return _line({"number": number})
    return _line({"number": number, "expect": _text(question.expect), "new": _text(question.new)})


def read_request(line: bytes) -> tuple[int, tuple[Record | None, Record] | None]:
    """Its number; what is to be swapped for what, or None for a read."""
    given = json.loads(line)
    if "new" not in given:
        return given["number"], None
    return given["number"], (_record(given["expect"]), decode(given["new"].encode()))


def answer(number: int, record: Record | None) -> bytes:
    """What the store holds."""
    return _line({"number": number, "record": _text(record)})


def error(number: int, why: str) -> bytes:
    """The call has failed."""
    return _line({"number": number, "error": why[:_LONGEST_ERROR]})


def read_answer(line: bytes) -> tuple[int, Record | None, str]:
    """The call's number, what the store holds, or why that is unknown ("": it is known).

    Raises ValueError (BadRecord is one), KeyError, TypeError or AttributeError for another line.
    """
    given: dict[str, Any] = json.loads(line)
    if "error" in given:
        return int(given["number"]), None, str(given["error"]) or "no reason given"
    return int(given["number"]), _record(given["record"]), ""


def _line(message: dict[str, object]) -> bytes:
    data = json.dumps(message, separators=(",", ":")).encode() + b"\n"
    if len(data) > select.PIPE_BUF:
        raise ValueError(f"a line of {len(data)} bytes is longer than {select.PIPE_BUF}")
    return data


def _text(record: Record | None) -> str | None:
    return encode(record).decode() if record else None


def _record(given: str | None) -> Record | None:
    return decode(given.encode()) if given is not None else None
