"""A configuration of two hosts: what is right is read, and each wrong kind is a line that says what to do."""

import os
import re
from pathlib import Path

import pytest

from colo_proxy import config
from colo_proxy.config import sections
from colo_proxy.endpoints import Packet, Tap, Unix
from colo_proxy.errors import ConfigError
from colo_proxy.pair.places import places, trial_places
from colo_proxy.pair.store import DirectoryPlace, EtcdPlace

FILE = Path("/etc/colo-proxy/web1.toml")
ETCD = """
[pair]
host = "a"
peer_host = "b"
listen = "198.51.100.11:9310"
peer = "198.51.100.12:9310"
certificate = "/etc/colo-proxy/a.crt"
key = "/etc/colo-proxy/a.key"
authority = "/etc/colo-proxy/ca.crt"

[arbiter]
kind = "etcd"
endpoints = ["https://198.51.100.21:2379", "https://[2001:db8::22]:2379", "https://c.example:2379"]
certificate = "/etc/colo-proxy/a.crt"
key = "/etc/colo-proxy/a.key"
authority = "/etc/colo-proxy/ca.crt"

[[nic]]
uplink = "tap:colo0,bridge=br0"
carrier = "eth0"
vm = "packet:vm0"

[checkpoint]
vmm = "qmp"
vm = "unix:/run/vm/web1.qmp"
"""
DIRECTORY = """
[pair]
host = "a"
peer_host = "b"
listen = "198.51.100.11:9310"
peer = "198.51.100.12:9310"
insecure = true
[arbiter]
kind = "directory"
path = "/srv/shared"
[[nic]]
uplink = "packet:up0"
vm = "packet:vm0"
"""
ONE_HOST = '[[nic]]\nuplink = "packet:eth0"\nprimary = "packet:pvm0"\nsecondary = "packet:svm0"\n'


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config.parse(text, FILE)
    return list(caught.value.lines)


def test_what_is_given_is_read() -> None:
    read = config.parse(ETCD, FILE)
    two = read.two_hosts
    assert two is not None
    assert read.nics == ()
    (nic,) = two.nics
    assert nic.ports == {"uplink": Tap("colo0", "br0"), "vm": Packet("vm0")}
    assert nic.carrier == "eth0"
    assert read.checkpoint.vm == Unix("/run/vm/web1.qmp")
    pair = two.pair
    assert (pair.host, pair.peer_host, pair.listen) == ("a", "b", ("198.51.100.11", 9310))
    assert (pair.heartbeat_ms, pair.timeout_ms, pair.vm_timeout_ms) == (20, 150, 2000)
    assert pair.state_dir == "/var/lib/colo-proxy/web1", "after the VM"
    assert two.arbiter.cluster == "default"


def test_one_host_stays_as_it_is() -> None:
    read = config.parse(ONE_HOST, FILE)
    assert read.two_hosts is None
    read.require_one_host()


def test_two_hosts_are_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match=r"web1\.toml: \[pair\]: two hosts are not available") as caught:
        config.parse(DIRECTORY, FILE).require_one_host()
    assert caught.value.exit_status == os.EX_CONFIG
    assert len(caught.value.lines) == 1


def test_where_the_record_is() -> None:
    etcd, directory = config.parse(ETCD, FILE).two_hosts, config.parse(DIRECTORY, FILE).two_hosts
    assert etcd is not None
    assert directory is not None
    files = ("/etc/colo-proxy/a.crt", "/etc/colo-proxy/a.key", "/etc/colo-proxy/ca.crt")
    made = places(etcd.arbiter, "web1")
    assert made[0] == EtcdPlace("https://198.51.100.21:2379", "/colo-proxy/1/default/web1/right", *files)
    assert len(made) == 3
    assert places(directory.arbiter, "web1") == [DirectoryPlace("/srv/shared/default/web1")]
    assert places(directory.arbiter, "web1", make=True) == [
        DirectoryPlace("/srv/shared/default/web1", "/srv/shared")
    ]
    for two in (etcd, directory):
        trial = trial_places(two.arbiter, "web1", "a")
        assert not {place[:2] for place in trial} & {place[:2] for place in places(two.arbiter, "web1")}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('peer_host = "b"', 'peer_host = "a"', r"\[pair\] peer_host: 'a' is this host; give"),
        (
            'peer_host = "b"',
            'peer_host = "B"',
            r"\[pair\] peer_host: 'B' is not a host name; use .*lower-case",
        ),
        ('peer_host = "b"', 'peer_host = "b_"', r"\[pair\] peer_host: 'b_' is not a host name; use"),
        ('peer_host = "b"', "", r"\[pair\] peer_host: missing; add it"),
        ('host = "a"', "host = 7", r"\[pair\] host: 7 is not a host name; use"),
        ("100.12:9310", "100.11:9310", r"\[pair\] peer: is this host's own address; give"),
        ("100.12:9310", "100.12", r"\[pair\] peer: '198.51.100.12' has no port; write HOST:PORT"),
        ('"198.51.100.11:9310"', "9310", r'\[pair\] listen: must be "HOST:PORT", not 9310'),
        ('certificate = "/etc/colo-proxy/a.crt"', "", r"\[pair\] certificate: missing; add the path"),
        ('key = "/etc/colo-proxy/a.key"', 'key = "a.key"', r"\[pair\] key: must be an absolute path"),
        ("[arbiter]", "insecure = true\n[arbiter]", r"\[pair\] certificate: has no meaning with insecure"),
        ("[arbiter]", "heartbeat_ms = 51\n[arbiter]", r"\[pair\] heartbeat_ms: 51 .* lower it to 50"),
        ("[arbiter]", "timeout_ms = 49\n[arbiter]", r"\[pair\] timeout_ms: must be at least 50, not 49"),
        ("[arbiter]", "quiet_ms = 49\n[arbiter]", r"\[pair\] quiet_ms: unknown key"),
        ("[arbiter]", 'state_dir = ""\n[arbiter]', r"\[pair\] state_dir: must be an absolute path"),
        ('kind = "etcd"', "", r"\[arbiter\] kind: missing; add it"),
        ('kind = "etcd"', 'kind = "consul"', r"\[arbiter\] kind: must be one of 'etcd' or 'directory'"),
        (
            "https://c.example:2379",
            "c.example:2379",
            r"\[arbiter\] endpoints: 'c.example:2379' is not an endpoint",
        ),
        ("https://c.example:2379", "https://c.example", r"\[arbiter\] endpoints: 'c.example' has no port"),
        (
            "https://c.example:2379",
            "https://c:1/x",
            r"\[arbiter\] endpoints: 'https://c:1/x' is not an endpoint",
        ),
        ("https://c.example:2379", "https://198.51.100.21:2379", r"\[arbiter\] endpoints: .* twice; remove"),
        (re.compile(r"endpoints = .*"), "endpoints = []", r"\[arbiter\] endpoints: must be an array such as"),
        (re.compile(r"endpoints = .*"), "", r"\[arbiter\] endpoints: missing; kind"),
        (
            'kind = "etcd"',
            'kind = "etcd"\npath = "/srv"',
            r'\[arbiter\] path: has no meaning with kind = "etcd"',
        ),
        (re.compile(r"https:"), "http:", r"\[arbiter\] certificate: has no meaning without an https"),
        (
            re.compile(r"\[arbiter\].*?(?=\n\[\[nic)", re.DOTALL),
            '[arbiter]\nkind = "etcd"\nendpoints = ["https://c:1"]\n',
            r"\[arbiter\] certificate: missing; an https endpoint needs",
        ),
        (re.compile(r"\[arbiter\].*?\n\n", re.DOTALL), "", r"\[pair\]: two hosts need a store .*; add"),
        ('carrier = "eth0"', 'carrier = "a/b"', r"\[\[nic\]\] carrier: 'a/b' cannot be an interface's name"),
        ('carrier = "eth0"', 'carrier = "vm0"', r"\[\[nic\]\] carrier: 'vm0' is the vm of nic 0; name"),
        ('vm = "packet:vm0"', "", r"\[\[nic\]\] vm: missing; add it"),
        (
            'vm = "packet:vm0"',
            'vm = "packet:br0"',
            r"\[\[nic\]\] uplink: the bridge 'br0' is the vm of nic 0",
        ),
        ('vm = "packet:vm0"', 'vm = "unix:/v"\nvnet_hdr = 1', r"\[\[nic\]\] vnet_hdr: .*not 1"),
        (
            'carrier = "eth0"',
            'primary = "packet:p"',
            r"\[\[nic\]\] primary: has no meaning with \[pair\]; write vm",
        ),
        ('vmm = "qmp"', 'vmm = "none"', r'\[checkpoint\] vmm: "none" serves one host only'),
        ('vmm = "qmp"', "", r'\[checkpoint\] vm: has no meaning with vmm = "control"'),
        ('vm = "unix:/run/vm/web1.qmp"', "", r"\[checkpoint\] vm: missing; vmm"),
        ('vmm = "qmp"', 'vmm = "qmp"\nprimary = "unix:/p"', r"\[checkpoint\] primary: .* write vm"),
        ('vmm = "qmp"', 'vmm = "qmp"\nnotify_dev = "unix:/p"', r"\[checkpoint\] notify_dev: .*remove it"),
    ],
)
def test_each_wrong_kind_is_named(old: str | re.Pattern[str], new: str, said: str) -> None:
    text = re.sub(old, new, ETCD) if isinstance(old, re.Pattern) else ETCD.replace(old, new, 1)
    assert text != ETCD
    lines = problems(text)
    assert re.match(rf"{FILE}:\d+: {said}", lines[0]), lines


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (DIRECTORY.replace('path = "/srv/shared"', ""), r"\[arbiter\] path: missing; kind"),
        (
            DIRECTORY.replace('path = "/srv/shared"', 'path = "/srv/shared"\nendpoints = ["http://c:1"]'),
            r'\[arbiter\] endpoints: has no meaning with kind = "directory"; remove it',
        ),
        (
            ONE_HOST + '[arbiter]\nkind = "etcd"\n',
            r"\[arbiter\]: has no meaning without \[pair\]; remove it, or add \[pair\]",
        ),
        (ONE_HOST + 'vm = "packet:vm0"\n', r"\[\[nic\]\] vm: has no meaning without \[pair\]; remove it"),
        (ONE_HOST + 'carrier = "eth1"\n', r"\[\[nic\]\] carrier: has no meaning without \[pair\]; remove it"),
        (
            ONE_HOST + '[checkpoint]\nvm = "unix:/v"\n',
            r"\[checkpoint\] vm: has no meaning without \[pair\]; write primary and secondary",
        ),
        (
            'pair = 7\n[arbiter]\nkind = "directory"\npath = "/srv"\n[[nic]]\nuplink = "packet:u"\n'
            'vm = "packet:v"\n',
            r"\[pair\]: must be a table, not 7; write \[pair\] above its keys",
        ),
        (re.sub(r"\[\[nic\]\][^\[]*", "", DIRECTORY), r"\[\[nic\]\]: .*with uplink and vm"),
    ],
)
def test_other_wrong_kinds_are_named(text: str, said: str) -> None:
    (line,) = problems(text)
    assert re.match(rf"{FILE}:\d+: {said}", line), line


def test_the_line_is_that_of_the_key() -> None:
    text = DIRECTORY.replace("insecure = true", "insecure = 1")
    assert (
        f"{FILE}:{text[: text.index('insecure')].count(chr(10)) + 1}: [pair] insecure: " in problems(text)[0]
    )


def test_every_fault_is_told_at_once() -> None:
    text = ETCD.replace('host = "a"', "host = 7").replace('kind = "etcd"', "kind = 7").replace("vm0", "a/b")
    assert [line.partition(": ")[2].partition(":")[0] for line in problems(text)] == [
        "[pair] host",
        "[arbiter] kind",
        "[[nic]] vm",
    ]


def test_a_carrier_may_be_the_uplink_itself() -> None:
    two = config.parse(DIRECTORY.replace("vm = ", 'carrier = "up0"\nvm = '), FILE).two_hosts
    assert two is not None
    assert two.nics[0].carrier == "up0"


def test_the_largest_values_are_taken() -> None:
    for key, field in sections.Pair.model_fields.items():
        most = [rule.le for rule in field.metadata if hasattr(rule, "le")]
        if most and key != "heartbeat_ms":
            text = DIRECTORY.replace("[arbiter]", f"{key} = {most[0]}\n[arbiter]")
            two = config.parse(text, FILE).two_hosts
            assert two is not None
            assert getattr(two.pair, key) == most[0]
