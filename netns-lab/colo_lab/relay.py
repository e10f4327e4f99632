"""A VM's interface behind QEMU's net streams, as the filter objects of a QEMU on its host would have it.

    python relay.py IFNAME IN OUT [--vnet-hdr]

What the interface says goes to IN, what comes from OUT goes to the interface; both are `HOST:PORT`, one
connection each (`-object filter-redirector` takes a chardev for either direction). A connection that ends
is made again after `PAUSE_S` (`-chardev socket,reconnect-ms=10`); what is said meanwhile is lost, as
with QEMU.
"""

import argparse
import contextlib
import select
import socket
import struct
import threading
import time

PAUSE_S = 0.01
_SOL_PACKET = 263  # linux/if_packet.h
_ADD_MEMBERSHIP, _VNET_HDR, _IGNORE_OUTGOING, _PROMISC = 1, 15, 23, 1
_ALL = 3
_VNET_SIZE = 10
_LONGEST = 70_000


def interface(name: str) -> socket.socket:
    """A packet socket with virtio-net headers."""
    port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    for option in (_VNET_HDR, _IGNORE_OUTGOING):
        port.setsockopt(_SOL_PACKET, option, 1)
    port.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
    membership = struct.pack("=iHH8s", socket.if_nametoindex(name), _PROMISC, 0, b"")
    port.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, membership)
    port.bind((name, _ALL))
    return port


def connect(address: str) -> socket.socket:
    """Connect, however long it takes."""
    host, _, port = address.rpartition(":")
    while True:
        try:
            peer = socket.create_connection((host, int(port)))
        except OSError:
            time.sleep(PAUSE_S)
            continue
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return peer


def speak(port: socket.socket, address: str, vnet: bool) -> None:
    """From the interface to IN, for ever."""
    while True:
        with connect(address) as peer, contextlib.suppress(OSError):
            while True:
                ready, _, _ = select.select([port, peer], [], [])
                if peer in ready and not peer.recv(1):
                    break
                if port not in ready:
                    continue
                frame = port.recv(_LONGEST)
                if vnet:
                    peer.sendall(struct.pack("!II", len(frame), _VNET_SIZE) + frame)
                else:
                    peer.sendall(struct.pack("!I", len(frame) - _VNET_SIZE) + frame[_VNET_SIZE:])
        time.sleep(PAUSE_S)


def listen(port: socket.socket, address: str, vnet: bool) -> None:
    """From OUT to the interface, for ever."""
    while True:
        with (
            connect(address) as peer,
            peer.makefile("rb") as stream,
            contextlib.suppress(OSError, struct.error),
        ):
            while True:
                (size,) = struct.unpack("!I", stream.read(4))
                header = bytes(_VNET_SIZE)
                if vnet:
                    (length,) = struct.unpack("!I", stream.read(4))
                    header = stream.read(length)[:_VNET_SIZE]
                    size -= length
                frame = stream.read(size)
                with contextlib.suppress(OSError):  # longer than the interface takes
                    port.send(header + frame)
        time.sleep(PAUSE_S)


def main() -> None:
    """Until it is killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("interface")
    parser.add_argument("to_proxy")
    parser.add_argument("from_proxy")
    parser.add_argument("--vnet-hdr", action="store_true")
    given = parser.parse_args()
    port = interface(given.interface)
    threading.Thread(target=listen, args=(port, given.from_proxy, given.vnet_hdr), daemon=True).start()
    speak(port, given.to_proxy, given.vnet_hdr)


if __name__ == "__main__":
    main()
