"""Give up what root can do and the proxy no longer needs (capabilities(7)).

Per thread: call it in the main thread before the others start, and they inherit what is left.
"""

import ctypes
import os

CAP_DAC_OVERRIDE = 1  # sockets of VMMs that run as other users; removing our own socket
CAP_NET_ADMIN = 12  # undoing what was done to interfaces
CAP_NET_RAW = 13  # opening a packet socket again when an interface comes back
KEPT = (CAP_DAC_OVERRIDE, CAP_NET_ADMIN, CAP_NET_RAW)

_VERSION_3 = 0x20080522  # linux/capability.h
_PR_SET_NO_NEW_PRIVS = 38  # linux/prctl.h


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def drop(kept: tuple[int, ...] = KEPT) -> None:
    """Keep at most these capabilities, and never gain others by running a program. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = _Header(_VERSION_3, 0)
    data = (_Data * 2)()
    _check(libc.capget(ctypes.byref(header), data), "capget")
    mask = sum(1 << capability for capability in kept)
    for half in range(2):
        allowed = (mask >> 32 * half) & 0xFFFFFFFF
        data[half].permitted &= allowed
        data[half].effective &= allowed
        data[half].inheritable = 0
    _check(libc.capset(ctypes.byref(header), data), "capset")
    _check(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")


def _check(result: int, call: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{call}: {os.strerror(code)}")
