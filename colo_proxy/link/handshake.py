"""From a connected socket to an open stream: TLS, both names, the opening, both verdicts; or one line why
not.

Blocking, in the thread of the connection, and done by a deadline however slowly the other end speaks.
Nothing of what it sends is kept but its opening and its verdict, of 4 KiB each at most.
"""

import socket
import ssl
import time
from contextlib import suppress
from typing import NamedTuple

from colo_proxy.link import opening as messages
from colo_proxy.link.opening import Opening, Refused
from colo_proxy.link.tls import Contexts, names, reason

SECONDS = 2.0  # for all of it
_LINGER = 8192  # bytes that are still read from who is refused, so that it reads why


class Established(NamedTuple):
    """An open stream. Bytes that TLS has decrypted already may wait in `sock`: read before you wait."""

    sock: socket.socket
    theirs: Opening
    version: int


def establish(
    sock: socket.socket, mine: Opening, peer_host: str, contexts: Contexts | None, *, calling: bool
) -> Established:
    """Open a stream; without `contexts` over plain TCP. Raises Refused, with the socket closed.

    `sock` is a connected socket, which belongs to the stream from now on.
    """
    talk = _Talk(sock)
    try:
        if contexts:
            talk.secure(contexts, peer_host, calling=calling)
        talk.send(messages.encode(mine))
        theirs = messages.decode(talk.message())
        try:
            version = messages.judge(mine, theirs, peer_host)
        except Refused as refusal:
            talk.send_last(messages.refuse(str(refusal)))
            raise
        talk.send(messages.accept(version))
        messages.accepted(talk.message(), version)
    except ssl.SSLCertVerificationError as error:
        why = f"its certificate is not accepted: {error.verify_message.rstrip('.')}"
    except ssl.SSLEOFError:
        why = "it has hung up"
    except ssl.SSLError as error:
        why = f"TLS 1.3 with it has failed: {reason(error)}"
    except TimeoutError:
        why = f"it has not finished the opening within {SECONDS:g} s"
    except OSError as error:
        why = f"it has hung up: {error.strerror}"
    except Refused as refusal:
        why = str(refusal)
    else:
        return Established(talk.sock, theirs, version)
    with suppress(OSError):
        talk.sock.close()
    raise Refused(why)


class _Talk:
    """A connection whose every step ends by one deadline."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._deadline = time.monotonic() + SECONDS

    def _hurry(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.sock.settimeout(left)

    def secure(self, contexts: Contexts, peer_host: str, *, calling: bool) -> None:
        """TLS from now on. Raises Refused, OSError."""
        tls = (
            contexts.client.wrap_socket(
                self.sock,
                server_hostname=peer_host,
                do_handshake_on_connect=False,
                suppress_ragged_eofs=False,
            )
            if calling
            else contexts.server.wrap_socket(
                self.sock, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=False
            )
        )
        self.sock = tls
        self._hurry()
        tls.do_handshake()
        found = names(tls)
        if peer_host not in found:
            raise Refused(f"its certificate is for {_shown(found)}, not for {peer_host}")

    def send(self, data: bytes) -> None:
        self._hurry()
        self.sock.sendall(data)

    def send_last(self, data: bytes) -> None:
        """Send, and read a little of what has crossed it, for a reset would take it away unread."""
        with suppress(OSError):
            self.send(data)
            if isinstance(self.sock, ssl.SSLSocket):
                self.sock.setblocking(False)
                with suppress(OSError):  # it has sent close_notify, and wants the other's
                    self.sock.unwrap()
            socket.socket.shutdown(self.sock, socket.SHUT_WR)
            for _ in range(_LINGER // 1024):
                self._hurry()
                if not socket.socket.recv(self.sock, 1024):
                    break

    def message(self) -> bytes:
        """The next message, without its length. Raises Refused, OSError."""
        return self._exactly(messages.size(self._exactly(messages.PREFIX)))

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            self._hurry()
            got = self.sock.recv(size - len(data))
            if not got:
                raise Refused("it has hung up")
            data += got
        return data


def _shown(found: frozenset[str]) -> str:
    """Names that a stranger has chosen, for a line of the log."""
    text = ", ".join(sorted(found))[:100] or "no DNS name"
    return "".join(each if " " <= each <= "~" else "?" for each in text)
