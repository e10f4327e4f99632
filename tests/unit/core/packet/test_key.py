"""Flow keys: what belongs together, how it reads, and that the hash is SipHash."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from frames import ip4, ip6, link
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, ICMPv6ND_NS, IPv6ExtHdrDestOpt
from scapy.layers.l2 import ARP, GRE
from scapy.packet import Packet, Raw

from colo_proxy.core.packet.key import flow_hash, flow_key, flow_protocol, flow_text
from colo_proxy.core.packet.parse import dissect

BOTH_WAYS = [
    (
        lambda vm: ip4(not vm) / TCP(sport=80 if vm else 40000, dport=40000 if vm else 80),
        "tcp 192.0.2.2:80 > 192.0.2.1:40000",
    ),
    (
        lambda vm: ip4(not vm) / UDP(sport=53 if vm else 9, dport=9 if vm else 53),
        "udp 192.0.2.2:53 > 192.0.2.1:9",
    ),
    (
        lambda vm: ip6(not vm) / TCP(sport=80 if vm else 1, dport=1 if vm else 80),
        "tcp [2001:db8::2]:80 > [2001:db8::1]:1",
    ),
    (lambda vm: ip4(not vm) / ICMP(type=0 if vm else 8), "icmp 192.0.2.2 > 192.0.2.1"),
    (lambda vm: ip6(not vm) / ICMPv6EchoRequest(), "icmpv6 2001:db8::2 > 2001:db8::1"),
    (lambda vm: ip6(not vm) / IPv6ExtHdrDestOpt() / GRE(), "ip-47 2001:db8::2 > 2001:db8::1"),
    (lambda vm: ip4(not vm) / GRE(), "ip-47 192.0.2.2 > 192.0.2.1"),
    (lambda vm: ip4(not vm, proto=6) / Raw(b"cut"), "ip-6 192.0.2.2 > 192.0.2.1"),
    (lambda vm: ip4(not vm, proto=58), "ip-58 192.0.2.2 > 192.0.2.1"),
    (lambda vm: ip4(not vm, frag=3, proto=6) / Raw(bytes(24)), "ip-6 192.0.2.2 > 192.0.2.1"),
    (lambda vm: ARP(), "ethertype 0x0806 52:54:00:00:00:02 > 52:54:00:00:00:01"),
    (lambda vm: ip6(not vm) / ICMPv6ND_NS(), "icmpv6 2001:db8::2 > 2001:db8::1"),
    (lambda vm: ip4(not vm, ihl=4), "ethertype 0x0800 52:54:00:00:00:02 > 52:54:00:00:00:01"),
]


@pytest.mark.parametrize(("vlans", "suffix"), [((), ""), ((10,), " vlan 10"), ((4095, 1), " vlan 4095.1")])
@pytest.mark.parametrize(("make", "text"), BOTH_WAYS, ids=[text for _, text in BOTH_WAYS])
def test_both_directions_are_one_flow_seen_from_the_vm(
    make: Callable[..., Packet], text: str, vlans: tuple[int, ...], suffix: str
) -> None:
    said = bytes(link(vlans=vlans) / make(True))
    heard = bytes(link(to_vm=True, vlans=vlans) / make(False))
    assert flow_text(said) == flow_text(heard, from_vm=False) == text + suffix
    assert flow_key(said) == flow_key(heard, from_vm=False)
    assert flow_protocol(said) == text.split(maxsplit=1)[0]


def test_everything_that_names_a_flow_is_in_the_key() -> None:
    flows = [
        link() / ip4() / TCP(sport=80, dport=1),
        link() / ip4() / TCP(sport=81, dport=1),
        link() / ip4() / TCP(sport=80, dport=2),
        link() / ip4() / UDP(sport=80, dport=1),
        link() / ip4(src="192.0.2.3") / TCP(sport=80, dport=1),
        link() / ip4(dst="192.0.2.3") / TCP(sport=80, dport=1),
        link() / ip6() / TCP(sport=80, dport=1),
        link(vlans=(1,)) / ip4() / TCP(sport=80, dport=1),
        link(vlans=(1, 1)) / ip4() / TCP(sport=80, dport=1),
        link() / ip4(proto=6) / Raw(b"cut"),
    ]
    frames = [bytes(flow) for flow in flows]
    assert len({flow_key(frame) for frame in frames}) == len(frames)
    assert len({flow_hash(frame, 1) for frame in frames}) == len(frames)


def test_what_does_not_name_a_flow_is_not() -> None:
    one = bytes(link() / ip4(id=1, ttl=3) / TCP(sport=80, dport=1, seq=4) / b"x")
    other = bytes(link() / ip4(id=2, options=b"\x94\x04\x00\x00") / TCP(sport=80, dport=1, flags="FA"))
    assert flow_key(one) == flow_key(other)


@pytest.mark.parametrize("length", range(0, 70, 3))
def test_truncated_frames_have_a_key(length: int) -> None:
    frame = bytes(link() / ip6() / TCP())[:length]
    assert flow_text(frame).split()[0] == ("ethertype" if dissect(frame)["kind"] == "other" else "ip-6")


def test_the_longest_text_fits() -> None:
    address = "2001:db8:1111:2222:3333:4444:5555:6666"
    packet = link(vlans=(4095, 4094)) / ip6(src=address, dst=address) / UDP(sport=65535, dport=65535)
    assert flow_text(bytes(packet)) == f"udp [{address}]:65535 > [{address}]:65535 vlan 4095.4094"


@pytest.mark.parametrize("packet", [ip4() / TCP(), ip6() / UDP(), ARP()], ids=lambda p: p.summary())
def test_the_hash_is_siphash(packet: Packet) -> None:
    """Python hashes bytes with SipHash-1-3 too, under a key of zero if it is told so."""
    if sys.hash_info.algorithm != "siphash13":
        pytest.skip(f"this Python hashes bytes with {sys.hash_info.algorithm}, not siphash13")
    frame = bytes(link() / packet)
    key = flow_key(frame)
    if IP in packet:
        key = key[:4] + key[16:20] + key[32:]  # without the zeros behind two addresses of four bytes
    command = [sys.executable, "-c", f"print(hash({key!r}))"]
    env = {**os.environ, "PYTHONHASHSEED": "0"}
    theirs = int(subprocess.run(command, env=env, capture_output=True, check=True).stdout)
    assert flow_hash(frame, 0) == theirs % 2**64


def test_the_seed_matters() -> None:
    frame = bytes(link() / ip4() / TCP())
    assert len({flow_hash(frame, seed) for seed in range(100)}) == 100
