"""The process that calls one endpoint of the store, and may never come back from it.

It reads requests from standard input and writes answers to standard output (`lines`). It ends when standard
input does. Each call has a thread and a connection of its own (a lane) while
it lasts. Lanes are made as they are needed, and the one that was used last is used next. A lane that has
failed, or rested for `REST_S`, connects anew: a box on the way may have forgotten its connection, and
certificates may have been renewed.
"""

import os
import queue
import sys
import threading
import time

from colo_proxy.pair import lines
from colo_proxy.pair.directory import Directory, make, prune
from colo_proxy.pair.etcd import Member, context
from colo_proxy.pair.record import Record
from colo_proxy.pair.store import DirectoryPlace, Place, Store, StoreError

REST_S = 20.0

_Request = tuple[int, tuple[Record | None, Record] | None]  # see lines.read_request


class _Lanes:
    """The threads that call the store."""

    def __init__(self, place: Place, most: int) -> None:
        self.place = place
        self._left = most
        self._lock = threading.Lock()
        self._idle: list[queue.SimpleQueue[_Request]] = []  # one for each lane that rests

    def give(self, request: _Request) -> None:
        """Have a lane make this call: one that rests, or a new one."""
        with self._lock:
            lane = self._idle.pop() if self._idle else None
        if lane is None:
            if not self._left:
                _say(lines.error(request[0], "too many calls at once"))
                return
            self._left -= 1
            lane = queue.SimpleQueue()
            threading.Thread(target=self._run, args=(lane,), daemon=True).start()
        lane.put(request)

    def _run(self, lane: "queue.SimpleQueue[_Request]") -> None:
        store: Store | None = None
        rested_since = 0.0
        while True:
            number, swap = lane.get()
            if store is not None and time.monotonic() - rested_since > REST_S:
                store.close()
                store = None
            try:
                store = store or open_store(self.place)
                answer = lines.answer(number, store.swap(*swap) if swap else store.read())
            except Exception as error:  # whatever it is, the store has not answered
                answer = lines.error(number, _words(error))
                if store is not None:
                    store.close()
                store = None
            rested_since = time.monotonic()
            with self._lock:
                self._idle.append(lane)
            _say(answer)


def open_store(place: Place) -> Store:
    """The store at this place. Raises OSError (ssl.SSLError is one) for a certificate that cannot be used."""
    if isinstance(place, DirectoryPlace):
        if place.root:
            make(place.path, place.root)
        if place.scratch:
            prune(place.path)
        return Directory(place.path)
    encrypted = place.endpoint.startswith("https:")
    tls = context(place.certificate, place.key, place.authority) if encrypted else None
    return Member(place.endpoint, place.record, tls=tls)


def _words(error: Exception) -> str:
    """What is wrong, for an operator."""
    if isinstance(error, StoreError):
        return str(error)
    return f"{type(error).__name__}: {error}"


def _say(answer: bytes) -> None:
    try:
        os.write(sys.stdout.fileno(), answer)
    except OSError:  # nobody reads
        os._exit(0)


def main() -> None:
    """Serve until standard input ends; a thread that is inside a call is not waited for."""
    lanes = _Lanes(*lines.read_settings(sys.stdin.buffer.readline()))
    for request in sys.stdin.buffer:
        lanes.give(lines.read_request(request))
    os._exit(0)


if __name__ == "__main__":
    main()
