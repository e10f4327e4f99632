"""Flows by the hundred thousand: TCP segments that are put on the guests' wires, with nobody behind them."""

import struct
from collections.abc import Iterable, Iterator
from functools import partial
from socket import AF_PACKET, SOCK_RAW, inet_aton
from typing import Self

from .lab import Lab
from .proxy import Proxy
from .waiting import Deadline, until

_NOBODY = bytes.fromhex("020000000099")  # a client's MAC address that nothing has: who gets it drops it
_NETWORK = "198.18.{}.{}"  # RFC 2544
_PORTS, _FIRST = 50_000, 1024
_AT_ONCE = 500  # frames that a packet socket's buffer takes while the proxy does not run


class Crowd:
    """The VM's connections, numbered from 0, of one lab and proxy. Both guests send what the test says."""

    def __init__(self, lab: Lab, proxy: Proxy) -> None:
        nic = lab.topology.nics[0]
        self._proxy = proxy
        self._vm = nic.vm4
        self._ethernet = _NOBODY + bytes.fromhex(nic.vm_mac.replace(":", "")) + b"\x08\x00"
        self._wires = [vm.socket(AF_PACKET, SOCK_RAW) for vm in (lab.topology.pvm, lab.topology.svm)]
        for wire in self._wires:
            wire.bind((nic.device, 0))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for wire in self._wires:
            wire.close()

    def name(self, number: int) -> str:
        """What the proxy calls a flow."""
        return f"tcp {self._vm}:80 > {_client(number)}:{_FIRST + number % _PORTS}"

    def frame(self, number: int, data: bytes) -> bytes:
        """A segment of one flow, always at the same sequence number."""
        port = _FIRST + number % _PORTS
        segment = struct.pack(">HHIIBBHHH", 80, port, 1000, 1, 0x50, 0x10, 8192, 0, 0) + data
        ends = inet_aton(self._vm) + inet_aton(_client(number))
        header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(segment), 0, 0, 64, 6, 0)
        return self._ethernet + header + ends + segment

    def send(self, numbers: Iterable[int], pvm: bytes, svm: bytes) -> None:
        """Have each guest send a segment on each of these flows, no faster than the proxy takes them."""
        with self._proxy.connect() as control:

            def taken() -> list[int]:
                ports = control.execute("query-stats")["nics"][0]["ports"]
                return [ports[role]["received"] for role in ("primary", "secondary")]

            def reached(wanted: list[int]) -> bool:
                return all(a >= b for a, b in zip(taken(), wanted, strict=True))

            for some in _pieces(numbers):
                before = taken()
                for wire, data in zip(self._wires, (pvm, svm), strict=True):
                    for number in some:
                        wire.send(self.frame(number, data))
                wanted = [count + len(some) for count in before]
                until(
                    partial(reached, wanted),
                    Deadline(20),
                    "the proxy takes what the guests send",
                )


def _client(number: int) -> str:
    return _NETWORK.format(*divmod(number // _PORTS, 250))


def _pieces(numbers: Iterable[int]) -> Iterator[list[int]]:
    some: list[int] = []
    for number in numbers:
        some.append(number)
        if len(some) == _AT_ONCE:
            yield some
            some = []
    if some:
        yield some
