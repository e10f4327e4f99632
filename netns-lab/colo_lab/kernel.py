"""The few kernel calls that Python 3.11 does not offer: unshare, setns, prctl.

Namespaces belong to threads. Every function here acts on the calling thread alone.
"""

import ctypes
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import Missing

CLONE_NEWUSER = 0x10000000  # linux/sched.h
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1  # linux/prctl.h
TUN = "/dev/net/tun"

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that forked it ends. The mark does not survive
    a change of credentials (prctl(2)), so a program that drops privileges outlives it; see markers.sweep.
    """
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def own_namespace() -> int:
    """A descriptor of the calling thread's network namespace."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


@contextmanager
def inside(namespace: int) -> Iterator[None]:
    """Move the calling thread into the namespace of this descriptor, and back at the end."""
    home = own_namespace()
    try:
        _check(_libc.setns(namespace, CLONE_NEWNET), "setns")
        try:
            yield
        finally:
            _check(_libc.setns(home, CLONE_NEWNET), "setns")
    finally:
        os.close(home)


def new_namespace() -> int:
    """Make a network namespace; it lives as long as the returned descriptor or a process in it."""
    home = own_namespace()
    try:
        _check(_libc.unshare(CLONE_NEWNET), "unshare")
        made = own_namespace()
        _check(_libc.setns(home, CLONE_NEWNET), "setns")
        return made
    finally:
        os.close(home)


def become_root() -> str | None:
    """Make sure that this process may create network namespaces.

    Root needs nothing. Anybody else enters a new user namespace, as its root, with a network
    namespace that belongs to it. Must run before a second thread exists.

    Returns a line about what was done, or None.
    Raises Missing where the kernel forbids it.
    """
    if os.geteuid() == 0 and _may_unshare():
        return None
    uid, gid = os.geteuid(), os.getegid()
    try:
        _check(_libc.unshare(CLONE_NEWUSER | CLONE_NEWNET), "unshare")
        # user_namespaces(7): an unprivileged process may map itself alone, after giving up setgroups.
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    except OSError as error:
        raise Missing(
            "network namespaces need root or an unprivileged user namespace, and neither is allowed here "
            f"({error.strerror}): run it with sudo"
        ) from None
    return "not root: running in an unprivileged user namespace"


def _may_unshare() -> bool:
    with suppress(OSError):
        os.close(new_namespace())
        return True
    return False


def may_make_taps() -> bool:
    """Whether /dev/net/tun exists and may be opened (on some hosts it is for root alone)."""
    try:
        os.close(os.open(TUN, os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def join(pid: int, fd: int) -> None:
    """Enter the network namespace behind descriptor `fd` of process `pid`, and the user namespace that owns
    it where that is another. Must run before a second thread exists."""
    user = Path(f"/proc/{pid}/ns/user")
    network = os.open(f"/proc/{pid}/fd/{fd}", os.O_RDONLY)
    try:
        if user.stat().st_ino != Path("/proc/self/ns/user").stat().st_ino:
            owner = os.open(user, os.O_RDONLY)
            _check(_libc.setns(owner, CLONE_NEWUSER), "setns")
            os.close(owner)
        _check(_libc.setns(network, CLONE_NEWNET), "setns")
    finally:
        os.close(network)
