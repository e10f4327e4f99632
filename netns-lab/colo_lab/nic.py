"""A VM's NIC as its VMM sees it: it can be stopped, and then keeps what arrives like a virtqueue.

A stopped VM neither sends nor receives, but frames for it wait in its ring and are delivered when it goes on.
Here a switch (nftables.py) stands for the stopped device; a packet socket inside, which sees a
frame before the switch drops it, is the ring; and a second one outside puts the frames back.
"""

import ctypes
import socket
import struct
from contextlib import ExitStack

from .namespaces import Namespace
from .nftables import Switch

ETH_P_ALL = 3
SOL_PACKET = 263
PACKET_VNET_HDR, PACKET_QDISC_BYPASS, PACKET_IGNORE_OUTGOING = 15, 20, 23  # linux/if_packet.h
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE = 26, 33
_RING_BYTES = 16 << 20
_FRAME_BYTES = 10 + 14 + 8 + 65536  # virtio-net header, Ethernet, two VLAN tags, the largest super-frame


class Nic:
    """One NIC of a VM: `device` inside the VM's namespace, `port` outside in the host's."""

    def __init__(self, vm: Namespace, device: str, host: Namespace, port: str) -> None:
        with ExitStack() as stack:
            self._switch = Switch(vm, device)
            stack.callback(self._switch.close)
            self._ring = stack.enter_context(vm.socket(socket.AF_PACKET, socket.SOCK_RAW))
            self._ring.setblocking(False)
            enlarge(self._ring, _RING_BYTES)
            self._ring.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
            self._ring.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
            _accept(self._ring, frames=False)
            self._ring.bind((device, ETH_P_ALL))
            self._outside = stack.enter_context(host.socket(socket.AF_PACKET, socket.SOCK_RAW))
            self._outside.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
            self._outside.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
            self._outside.bind((port, 0))
            self.close = stack.pop_all().close

    def stop(self) -> None:
        """Nothing moves from now on."""
        self._switch.set(open_=False)

    def keep(self) -> None:
        """Keep what arrives from now on for `go`."""
        _accept(self._ring, frames=True)

    def go(self) -> int:
        """Everything moves again, what was kept first; returns how many frames that were."""
        _accept(self._ring, frames=False)
        frames = []
        while True:
            try:
                frames.append(self._ring.recv(_FRAME_BYTES))
            except BlockingIOError:
                break
        self._switch.set(open_=True)
        for frame in frames:
            self._outside.send(frame)
        return len(frames)


def enlarge(sock: socket.socket, count: int) -> None:
    """Give a socket a receive buffer of `count` bytes, or as large as the system allows an ordinary user."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, count)
    except PermissionError:  # root of a user namespace only
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, count)


def _accept(ring: socket.socket, *, frames: bool) -> None:
    """A one-instruction socket filter: take whole frames, or none. Swapping it costs no RCU wait."""
    program = ctypes.create_string_buffer(
        struct.pack("=HBBI", 0x06, 0, 0, 0x40000 if frames else 0)
    )  # BPF_RET
    ring.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", 1, ctypes.addressof(program)))
