"""Policies: what each key of a match means, order, counting, and what a user's mistake is answered with."""

import pytest
from frames import ip4, ip6, link
from scapy.layers.inet import ICMP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest
from scapy.layers.l2 import ARP, GRE
from scapy.packet import Raw

from colo_proxy.core.policy import PolicyRule, PolicyTable

HTTP = link() / ip4() / TCP(sport=80, dport=40000)
HTTP6 = link() / ip6() / TCP(sport=80, dport=40000)
DNS = link() / ip4() / UDP(sport=5353, dport=53)
PING = link() / ip4() / ICMP()
PING6 = link() / ip6() / ICMPv6EchoRequest()
TUNNEL = link() / ip4() / GRE()
TAGGED = link(vlans=(10,)) / ip4() / TCP(sport=80, dport=40000)
TWICE = link(vlans=(10, 20)) / ip4() / TCP(sport=80, dport=40000)
CUT = link() / ip4(proto=6) / Raw(b"\x00\x50")
WHO = link() / ARP()
ALL = {
    "HTTP": HTTP,
    "HTTP6": HTTP6,
    "DNS": DNS,
    "PING": PING,
    "PING6": PING6,
    "TUNNEL": TUNNEL,
    "TAGGED": TAGGED,
    "TWICE": TWICE,
    "CUT": CUT,
    "WHO": WHO,
}


def matching(match: dict[str, object]) -> set[str]:
    table = PolicyTable([PolicyRule(match, "bypass")])
    return {name for name, packet in ALL.items() if table.decide(bytes(packet)) == "bypass"}


@pytest.mark.parametrize(
    ("match", "names"),
    [
        ({}, set(ALL)),
        ({"protocol": "tcp"}, {"HTTP", "HTTP6", "TAGGED", "TWICE", "CUT"}),
        ({"protocol": "TCP", "port": 80}, {"HTTP", "HTTP6", "TAGGED", "TWICE"}),
        ({"protocol": "udp"}, {"DNS"}),
        ({"protocol": 1}, {"PING"}),
        ({"protocol": "icmp"}, {"PING"}),
        ({"protocol": "icmpv6"}, {"PING6"}),
        ({"protocol": "47"}, {"TUNNEL"}),
        ({"protocol": 0}, set()),  # hop-by-hop is walked, and ARP has no protocol
        ({"port": 53}, {"DNS"}),
        ({"port": "53"}, {"DNS"}),
        ({"port": "50-60"}, {"DNS"}),
        ({"port": "54-60"}, set()),
        ({"port": 0}, set()),  # not even of flows without ports
        ({"local_port": 80}, {"HTTP", "HTTP6", "TAGGED", "TWICE"}),
        ({"remote_port": 80}, set()),
        ({"remote_port": "40000-65535"}, {"HTTP", "HTTP6", "TAGGED", "TWICE"}),
        ({"address": "2001:db8::/32"}, {"HTTP6", "PING6"}),
        ({"address": "192.0.2.1"}, {"HTTP", "DNS", "PING", "TUNNEL", "TAGGED", "TWICE", "CUT"}),
        ({"local": "192.0.2.1"}, set()),
        ({"remote": "192.0.2.1/32", "protocol": "udp"}, {"DNS"}),
        ({"local": "192.0.2.2/31", "protocol": "udp"}, {"DNS"}),
        ({"local": "192.0.2.0/31"}, set()),
        ({"address": "0.0.0.0/0"}, {"HTTP", "DNS", "PING", "TUNNEL", "TAGGED", "TWICE", "CUT"}),
        ({"address": "::/0"}, {"HTTP6", "PING6"}),
        ({"address": "2001:db8::3/127"}, None),
        ({"vlan": 10}, {"TAGGED", "TWICE"}),
        ({"vlan": "10.20"}, {"TWICE"}),
        ({"vlan": "10.21"}, set()),
        ({"vlan": 20}, set()),
        ({"ethertype": 0x0806}, {"WHO"}),
        ({"ethertype": "0x86dd"}, {"HTTP6", "PING6"}),
    ],
    ids=lambda value: ",".join(sorted(value)) if isinstance(value, set) else str(value),  # a set has no order
)
def test_match(match: dict[str, object], names: set[str] | None) -> None:
    if names is None:
        with pytest.raises(ValueError, match=r"match\.address: .*host bits"):
            matching(match)
    else:
        assert matching(match) == names


@pytest.mark.parametrize("bits", range(33))
def test_networks_of_every_length(bits: int) -> None:
    """An address that differs in the last bit of the network is out, one that differs after it is in."""
    table = PolicyTable([PolicyRule({"local": f"0.0.0.0/{bits}"}, "drop")])

    def inside(address: int) -> bool:
        src = ".".join(str(byte) for byte in address.to_bytes(4, "big"))
        return table.decide(bytes(link() / ip4(src=src) / UDP())) == "drop"

    assert inside(0)
    if bits < 32:
        assert inside((1 << (32 - bits)) - 1)
    if bits > 0:
        assert not inside(1 << (32 - bits))


def test_the_first_rule_that_matches_wins_and_is_counted() -> None:
    table = PolicyTable(
        [
            PolicyRule({"protocol": "udp", "port": 53}, "drop"),
            PolicyRule({"protocol": "udp"}, "bypass"),
            PolicyRule({"address": "192.0.2.0/24"}, "compare"),
        ]
    )
    assert table.decide(bytes(DNS)) == "drop"
    assert table.decide(bytes(link() / ip4() / UDP(sport=9, dport=9))) == "bypass"
    assert table.decide(bytes(HTTP)) == "compare"
    assert table.decide(bytes(HTTP)) == "compare"
    assert table.decide(bytes(HTTP6)) is None
    assert table.hits == [1, 1, 2]


def test_the_ends_are_the_vms_view() -> None:
    table = PolicyTable([PolicyRule({"local": "192.0.2.2", "local_port": 80}, "bypass")])
    reply = bytes(link(to_vm=True) / ip4(to_vm=True) / TCP(sport=40000, dport=80))
    assert table.decide(reply, from_vm=False) == "bypass"
    assert table.decide(reply) is None


def test_no_rules() -> None:
    table = PolicyTable()
    assert table.decide(bytes(HTTP)) is None
    assert (table.rules, table.hits) == ((), [])


@pytest.mark.parametrize(
    ("match", "message"),
    [
        ({"prot": "udp"}, r"match\.prot: no such key"),
        ({"protocol": "udpp"}, r"match\.protocol: 'udpp' is not known; use a number, or one of icmp"),
        ({"protocol": 256}, r"match\.protocol: 256 is not a number from 0 to 255"),
        ({"protocol": True}, r"match\.protocol"),
        ({"protocol": None}, r"match\.protocol"),
        ({"port": 65536}, r"match\.port: 65536 is not a number from 0 to 65535"),
        ({"local_port": "http"}, r"match\.local_port: 'http' is not a number"),
        ({"remote_port": "9-8"}, r"match\.remote_port: 9-8 is empty; write the lower port first"),
        ({"port": "-5"}, r"match\.port: '' is not a number"),
        ({"port": [80]}, r"match\.port"),
        ({"address": "192.0.2.256"}, r"match\.address: '192\.0\.2\.256' does not appear to be"),
        ({"local": "192.0.2.1/24"}, r"match\.local: 192\.0\.2\.1/24 has host bits set"),
        ({"remote": 5}, r"match\.remote: 5 is not an address"),
        ({"vlan": 4096}, r"match\.vlan: 4096 is not a number from 0 to 4095"),
        ({"vlan": "1.x"}, r"match\.vlan: 'x' is not a number"),
        ({"ethertype": "arp"}, r"match\.ethertype: 'arp' is not a number"),
        ({"ethertype": 1 << 16}, r"match\.ethertype: 65536 is not a number from 0 to 65535"),
    ],
    ids=str,
)
def test_mistakes_are_named(match: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PolicyRule(match, "bypass")


def test_unknown_action() -> None:
    with pytest.raises(ValueError, match="action: 'pass' is not one of compare, bypass, drop"):
        PolicyRule({}, "pass")


def test_rules_compare_and_show_as_they_were_written() -> None:
    rule = PolicyRule({"protocol": "udp", "port": 53}, "bypass")
    assert rule == PolicyRule({"protocol": "udp", "port": 53}, "bypass")
    assert rule != PolicyRule({"protocol": "udp", "port": 53}, "drop")
    assert (rule.match, rule.action) == ({"protocol": "udp", "port": 53}, "bypass")
    assert repr(rule) == "PolicyRule({'protocol': 'udp', 'port': 53}, 'bypass')"


def test_a_table_takes_rules_only() -> None:
    with pytest.raises(TypeError):
        PolicyTable([{"protocol": "udp"}])  # type: ignore[list-item]
