"""Lets a person's browser or Prometheus reach a service inside a namespace of a lab, over loopback alone."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from .namespaces import Namespace

LOOPBACK = "127.0.0.1"
_CHUNK = 1 << 16


def listen(port: int) -> socket.socket:
    """A listener at this port of the caller's loopback, or at any free one where it is taken."""
    try:
        return socket.create_server((LOOPBACK, port))
    except OSError:
        return socket.create_server((LOOPBACK, 0))


@contextmanager
def forwarding(listener: socket.socket, namespace: Namespace, port: int) -> Iterator[None]:
    """Connect each client of `listener` with this port of the namespace, until the context ends."""

    def serve() -> None:
        with suppress(OSError):  # the listener was shut down
            while True:
                client, _ = listener.accept()
                threading.Thread(target=_join, args=(client, namespace, port), daemon=True).start()

    threading.Thread(target=serve, name="forward", daemon=True).start()
    try:
        yield
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _join(client: socket.socket, namespace: Namespace, port: int) -> None:
    with client, namespace.socket(socket.AF_INET, socket.SOCK_STREAM) as service, suppress(OSError):
        service.connect((LOOPBACK, port))
        back = threading.Thread(target=_pump, args=(service, client), daemon=True)
        back.start()
        _pump(client, service)
        back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Copy until the source ends, and say so to the sink."""
    with suppress(OSError):
        while data := source.recv(_CHUNK):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
