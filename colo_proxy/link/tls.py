"""Who may speak on the link: TLS 1.3 in which both hosts show a certificate, and whose names count.

The standard library does the work. A certificate must be issued by the authority of the configuration, be
valid now, and have the name of its host as a DNS name, exactly: no wildcard, no common name. Contexts are
made anew by `load` whenever the files may have changed; streams that are open keep what they have.
"""

import ssl
from pathlib import Path
from typing import NamedTuple

from colo_proxy.errors import HostError

_STEPS = 8  # flights of a handshake, more than there are


class Credentials(NamedTuple):
    """This host's name and the other's, and the files that prove them."""

    host: str
    peer_host: str
    certificate: str
    key: str
    authority: str


class Contexts(NamedTuple):
    """For the host that is called, and for the one that calls."""

    server: ssl.SSLContext
    client: ssl.SSLContext


def load(credentials: Credentials) -> Contexts:
    """Read the files and try them: a handshake of this host with itself, in memory. Raises HostError."""
    contexts = Contexts(
        _context(ssl.PROTOCOL_TLS_SERVER, credentials), _context(ssl.PROTOCOL_TLS_CLIENT, credentials)
    )
    contexts.server.num_tickets = 0  # each stream is proved anew
    try:
        found = _shake_hands_with_oneself(contexts, credentials.host)
    except ssl.SSLCertVerificationError as error:
        raise HostError(
            f"{credentials.certificate}: {_sentence(error.verify_message)}; the authority "
            f"({credentials.authority}) must have issued it for {credentials.host}, for servers and clients"
        ) from None
    except ssl.SSLError as error:
        raise HostError(
            f"{credentials.certificate}: this host cannot speak TLS 1.3 with it: {reason(error)}"
        ) from None
    if credentials.host not in found:
        raise HostError(
            f"{credentials.certificate}: it is for {', '.join(sorted(found)) or 'no DNS name'}, not for "
            f"{credentials.host}; issue one with subjectAltName=DNS:{credentials.host}"
        )
    return contexts


def names(tls: ssl.SSLSocket | ssl.SSLObject) -> frozenset[str]:
    """The DNS names in the certificate of the other end."""
    found = tls.getpeercert() or {}
    alternatives = found.get("subjectAltName", ())
    return frozenset(str(each[1]).lower() for each in alternatives if each[0] == "DNS")


def reason(error: ssl.SSLError) -> str:
    """In words, as far as OpenSSL gives any."""
    return str(error.reason or error.strerror or "it has failed").lower().replace("_", " ")


def _context(protocol: int, credentials: Credentials) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    for what in (credentials.authority, credentials.certificate, credentials.key):
        try:
            Path(what).read_bytes()
        except OSError as error:
            raise HostError(f"{what}: {error.strerror}; give a file that the proxy may read") from None
    try:
        context.load_verify_locations(credentials.authority)
    except (ssl.SSLError, ValueError):
        raise HostError(f"{credentials.authority}: it holds no certificate in PEM") from None
    try:
        context.load_cert_chain(credentials.certificate, credentials.key, password=_no_password)
    except (ssl.SSLError, ValueError):
        raise HostError(
            f"{credentials.certificate}, {credentials.key}: they are not a certificate and its key in PEM, "
            "without a password"
        ) from None
    return context


def _no_password() -> str:
    raise ValueError("nobody is there to type it")


def _shake_hands_with_oneself(contexts: Contexts, host: str) -> frozenset[str]:
    """The names in this host's own certificate, which both sides have verified. Raises SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = contexts.client.wrap_bio(to_client, to_server, server_hostname=host)
    server = contexts.server.wrap_bio(to_server, to_client, server_side=True)
    left = [client, server]
    for _ in range(_STEPS):
        for each in list(left):
            try:
                each.do_handshake()
            except ssl.SSLWantReadError:
                continue
            left.remove(each)
    if left:
        raise ssl.SSLError(0, "the handshake does not come to an end")
    return names(server)


def _sentence(text: str) -> str:
    return text[:1].lower() + text[1:].rstrip(".")
