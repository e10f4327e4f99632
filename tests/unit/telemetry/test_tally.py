"""Bounded counts against exact ones."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colo_proxy.telemetry.tally import Tally, service


@given(st.lists(st.sampled_from("abcdefgh")), st.integers(1, 10))
def test_never_overcounted_and_what_is_frequent_is_there(keys: list[str], room: int) -> None:
    tally, exact = Tally(room), Counter(keys)
    for key in keys:
        tally.add(key)
    found = dict(tally.most(room))
    assert len(found) <= room
    assert all(count <= exact[key] for key, count in found.items())
    assert {key for key, count in exact.items() if count > len(keys) / room} <= set(found)
    if len(exact) <= room:
        assert found == exact


def test_most_first() -> None:
    tally = Tally(9)
    for key in "abbcccd":
        tally.add(key)
    assert tally.most(3) == [("c", 3), ("b", 2), ("d", 1)]


def test_of_equal_counts_the_latest_first() -> None:
    tally = Tally(3)
    for key in "abcba":
        tally.add(key)
    assert tally.most(3) == [("a", 2), ("b", 2), ("c", 1)]
    tally.add("c")
    tally.add("d")  # takes the place of the one that was counted longest ago
    assert tally.most(3) == [("c", 2), ("a", 2), ("d", 1)]


@pytest.mark.parametrize(
    ("flow", "name"),
    [
        ("tcp 192.0.2.2:80 > 192.0.2.1:40000", "tcp/80"),
        ("tcp 192.0.2.2:40000 > 192.0.2.1:443 vlan 5.6", "tcp/443"),
        ("udp [2001:db8::2]:53 > [2001:db8::1]:50000", "udp/53"),
        ("icmp 192.0.2.2 > 192.0.2.1", "icmp"),
        ("ip-47 192.0.2.2 > 192.0.2.1 vlan 5", "ip-47"),
        ("ethertype 0x88b5 02:00:00:00:00:02 > 02:00:00:00:00:01", "ethertype 0x88b5"),
    ],
)
def test_services(flow: str, name: str) -> None:
    assert service(flow) == name
