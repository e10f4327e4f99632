"""Can these certificates be used for TLS? Tried by a handshake in memory: by what judges them later."""

import datetime
import ssl
from collections.abc import Iterator
from pathlib import Path

from colo_proxy.daemon.problem import Problem
from colo_proxy.errors import HostError
from colo_proxy.link import tls

_SOON = datetime.timedelta(days=14)
_OTHERS = 0o077
# Of X509_verify_cert_error_string(3): what to do.
_REMEDIES = {
    9: "correct this host's clock, or the certificate",
    10: "renew it",
    26: "have it signed for both server and client authentication",
    62: "have it signed with that name (subjectAltName)",
}
_UNKNOWN = "name the authority that has signed it, with all between them"


def certificate_problems(
    section: str, certificate: str, key: str, authority: str, *, host: str = "", other: str = ""
) -> Iterator[Problem]:
    """Of a certificate of this host, its key, and the authority by which others are judged.

    `host`: the name that it must be for, by this authority; without, the authority is of others alone.
    `other`: a name that it must not be for.
    """
    found = [*_files(section, {"certificate": certificate, "key": key, "authority": authority})]
    if any(problem.level == "error" and "cannot be read" in problem.what for problem in found):
        yield from found
        return
    yield from found
    where = f"{section} certificate {certificate}"
    try:
        _load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), certificate, key)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            yield Problem("error", f"{key} is not its key", where, "give the key that belongs to it")
        else:
            yield Problem("error", "it or its key is no PEM file without a password", where, "convert them")
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(authority)
    except ssl.SSLError:
        what = "there is no certificate in it"
        yield Problem("error", what, f"{section} authority {authority}", "give a PEM file")
        return
    yield from _judged(certificate, key, authority if host else certificate, (host, other), where)


def _files(section: str, files: dict[str, str]) -> Iterator[Problem]:
    for name, path in files.items():
        where = f"{section} {name} {path}"
        try:
            Path(path).read_bytes()
        except OSError as error:
            remedy = "correct the path, or give the proxy's user the right to read it"
            yield Problem("error", f"cannot be read: {error.strerror}", where, remedy)
            continue
        mode = Path(path).stat().st_mode
        if name == "key" and mode & _OTHERS:
            what = f"other users can read it (mode {mode & 0o777:03o})"
            yield Problem("error", what, where, f"chmod 600 {path}")


def _judged(certificate: str, key: str, anchor: str, names: tuple[str, str], where: str) -> Iterator[Problem]:
    host, other = names
    try:
        ends, shown = _handshake(certificate, key, anchor, host)
    except ssl.SSLCertVerificationError as error:
        what = error.verify_message if error.verify_code != 62 else f"it is not for the name {host!r}"
        yield Problem("error", what, where, _REMEDIES.get(error.verify_code, _UNKNOWN))
        return
    except ssl.SSLError as error:
        yield Problem("error", f"TLS refuses it: {error.reason}", where, "have another one signed")
        return
    left = ends - datetime.datetime.now(datetime.UTC)
    if left < _SOON:
        yield Problem("warning", f"it ends in {left.days} days, on {ends:%Y-%m-%d}", where, "renew it")
    if not host:
        return
    try:
        tls.load(tls.Credentials(host, other, certificate, key, anchor))
    except HostError as error:  # the link's own rules: the name exactly, as a DNS name
        what, _, remedy = str(error).partition(": ")[2].partition("; ")
        yield Problem("error", what, where, remedy or "have another one signed")
        return
    if other in shown:
        what = f"it is for the name {other!r} too: who has it can pose as either host"
        yield Problem("warning", what, where, "give each host a certificate of its own")


def _load(context: ssl.SSLContext, certificate: str, key: str) -> None:
    context.load_cert_chain(certificate, key, password=lambda: "")  # else it would ask at the terminal


def _handshake(
    certificate: str, key: str, anchor: str, host: str
) -> tuple[datetime.datetime, frozenset[str]]:
    """Both ends show the certificate, and judge it. Returns its end, and its names. Raises ssl.SSLError."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = bool(host)
    server.verify_mode = ssl.CERT_REQUIRED
    for context in (server, client):
        _load(context, certificate, key)
        context.load_verify_locations(anchor)
        if not host:
            context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(back, there, server_hostname=host or None),
        server.wrap_bio(there, back, server_side=True),
    ]
    waiting = list(ends)
    while waiting:
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                continue
    shown = ends[0].getpeercert()
    assert shown  # noqa: S101 - it was verified
    seconds = ssl.cert_time_to_seconds(str(shown["notAfter"]))
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC), tls.names(ends[0])
