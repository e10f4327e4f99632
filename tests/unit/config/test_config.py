"""Configuration: what is right is read, and each wrong kind is one line with file, line, section and key.

Past 400 lines: a list of wrong configurations, each by itself.
"""

import contextlib
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colo_proxy import config
from colo_proxy.config import policies, sections
from colo_proxy.config.toml_lines import key_lines, line_of
from colo_proxy.endpoints import Packet, Split, Tap, Tcp, Unix, parts
from colo_proxy.errors import ConfigError

FILE = Path("/etc/colo-proxy/web1.toml")

DESIGN = """
[proxy]
name = "web1"
control = "/run/colo-proxy/web1.sock"
metrics = "127.0.0.1:9308"        # "" turns it off

[[nic]]
uplink = "tap:colo0,bridge=br0"
primary = "packet:pvm0"
secondary = "packet:svm0"

[compare]
timeout_ms = "auto"
reorder_ms = 5
max_held_bytes = 67108864
max_flows = 100000

[checkpoint]
vmm = "qmp"
primary = "unix:/run/vm/web1-pvm.qmp"
secondary = "unix:/run/vm/web1-svm.qmp"
min_interval_ms = 50
period_ms = 20000

[[policy]]
match = { protocol = "udp", port = 123 }
action = "bypass"
"""

NIC = '[[nic]]\nuplink = "packet:eth0"\nprimary = "packet:pvm0"\nsecondary = "packet:svm0"\n'


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config.parse(text, FILE)
    assert all("\n" not in line for line in caught.value.lines)
    return list(caught.value.lines)


def test_the_example_of_the_design() -> None:
    read = config.parse(DESIGN, FILE)
    assert read.proxy.name == "web1"
    assert read.proxy.metrics == ("127.0.0.1", 9308)
    assert read.nics == (
        config.Nic.model_construct(
            uplink=Tap("colo0", "br0"), primary=Packet("pvm0"), secondary=Packet("svm0")
        ),
    )
    assert read.compare.timeout_ms == sections.AUTO
    assert read.checkpoint.primary == Unix("/run/vm/web1-pvm.qmp")
    assert len(read.policies) == 1


def test_the_shortest_configuration_and_its_defaults() -> None:
    read = config.parse(NIC, FILE)
    assert read.proxy.name == "web1"
    assert read.proxy.control == "/run/colo-proxy/web1.sock"
    assert read.proxy.metrics == ("127.0.0.1", 9308)
    assert (read.proxy.reports, read.proxy.max_reports) == ("", 100)
    assert read.compare.model_dump() == {
        "timeout_ms": 0,
        "reorder_ms": 5,
        "max_held_bytes": 64 << 20,
        "max_flow_bytes": 16 << 20,
        "max_flows": 100_000,
        "retransmissions": "trust",
    }
    checkpoint = read.checkpoint
    assert (checkpoint.vmm, checkpoint.min_interval_ms, checkpoint.period_ms) == ("control", 50, 20_000)
    assert (checkpoint.max_hold_ms, checkpoint.repeat_ms) == (10_000, 1000)
    assert read.policies == ()


def test_metrics_off_and_ipv6() -> None:
    assert config.parse('[proxy]\nmetrics = ""\n' + NIC, FILE).proxy.metrics is None
    assert config.parse('[proxy]\nmetrics = "[::1]:9308"\n' + NIC, FILE).proxy.metrics == ("::1", 9308)


def test_a_smaller_total_lowers_the_default_bound_of_a_flow() -> None:
    assert config.parse("[compare]\nmax_held_bytes = 4194304\n" + NIC, FILE).compare.max_flow_bytes == 4 << 20


@pytest.mark.parametrize(
    ("text", "line", "where", "what"),
    [
        ("[proxy]\nnmae = 'x'\n", 2, "[proxy] nmae", "unknown key; did you mean 'name'?"),
        ("[compare]\nzzz = 1\n", 2, "[compare] zzz", "unknown key; valid are timeout_ms, "),
        ("\n[checkpont]\nvmm = 'none'\n", 2, "[checkpont]", "unknown section; did you mean 'checkpoint'?"),
        ("stray = 1\n", 1, "[stray]", "unknown section; valid are"),
        ("[proxy]\nname = 7\n", 2, "[proxy] name", "7 is not a valid name"),
        ("[proxy]\nname = '../x'\n", 2, "[proxy] name", "is not a valid name"),
        ("[proxy]\ncontrol = 'x.sock'\n", 2, "[proxy] control", "not absolute; begin it with /"),
        (f"[proxy]\ncontrol = '/{'x' * 107}'\n", 2, "[proxy] control", "108 bytes long"),
        ("[proxy]\nmetrics = 9308\n", 2, "[proxy] metrics", 'must be "HOST:PORT"'),
        ("[proxy]\nmetrics = 'localhost'\n", 2, "[proxy] metrics", "has no port"),
        ("[proxy]\nmetrics = ':9308'\n", 2, "[proxy] metrics", "no usable host"),
        ("[proxy]\nmetrics = '::1:9308'\n", 2, "[proxy] metrics", "brackets"),
        (
            "[proxy]\nmetrics = 'h:65536'\n",
            2,
            "[proxy] metrics",
            "is not a port; use a number from 1",
        ),
        ("[proxy]\nreports = 'here'\n", 2, "[proxy] reports", "absolute path"),
        ("[proxy]\nmax_reports = 0\n", 2, "[proxy] max_reports", "at least 1, not 0"),
        (
            "[compare]\ntimeout_ms = 'soon'\n",
            2,
            "[compare] timeout_ms",
            "milliseconds or \"auto\", not 'soon'",
        ),
        ("[compare]\ntimeout_ms = 0\n", 2, "[compare] timeout_ms", 'write "auto"'),
        ("[compare]\ntimeout_ms = -3\n", 2, "[compare] timeout_ms", "at least 0, not -3"),
        ("[compare]\ntimeout_ms = 1.5\n", 2, "[compare] timeout_ms", "whole number, not 1.5"),
        ("[compare]\ntimeout_ms = true\n", 2, "[compare] timeout_ms", "whole number, not true"),
        ("[compare]\ntimeout_ms = 5\n", 1, "[compare] reorder_ms", "5 is not less than timeout_ms"),
        (
            "[compare]\nmax_held_bytes = 4194304\ntimeout_ms = 5\n",
            1,
            "[compare] reorder_ms",
            "5 is not less than timeout_ms",
        ),
        ("[compare]\nreorder_ms = '5'\n", 2, "[compare] reorder_ms", "whole number, not '5'"),
        ("[compare]\nmax_held_bytes = 1\n", 2, "[compare] max_held_bytes", "at least 1048576"),
        ("[compare]\nmax_flow_bytes = 99999999\n", 2, "[compare] max_flow_bytes", "more than max_held_bytes"),
        ("[compare]\nmax_flows = 0\n", 2, "[compare] max_flows", "at least 1"),
        ("[checkpoint]\nvmm = 'kvm'\n", 2, "[checkpoint] vmm", "one of 'qmp', 'control', 'xen' or 'none'"),
        (
            "[checkpoint]\nvmm = 'xen'\n",
            1,
            "[checkpoint] notify_dev",
            'missing; vmm = "xen" needs a unix: or tcp: socket',
        ),
        (
            "[checkpoint]\nnotify_dev = 'tcp:[::1]:5'\n",
            2,
            "[checkpoint] notify_dev",
            'has no meaning with vmm = "control"',
        ),
        ("[checkpoint]\nvmm = 'qmp'\n", 1, "[checkpoint] primary", 'missing; vmm = "qmp" needs'),
        ("[checkpoint]\nprimary = 'unix:/x'\n", 2, "[checkpoint] primary", 'no meaning with vmm = "control"'),
        (
            "[checkpoint]\nvmm = 'qmp'\nprimary = 'packet:x'\nsecondary = 'unix:/y'\n",
            3,
            "[checkpoint] primary",
            "is not a socket; write unix:PATH or tcp:HOST:PORT",
        ),
        (
            "[checkpoint]\nvmm = 'qmp'\nprimary = 'unix:/x'\nsecondary = 'unix:/x'\n",
            4,
            "[checkpoint] secondary",
            "is the socket of the primary",
        ),
        ("[checkpoint]\nperiod_ms = 10\n", 2, "[checkpoint] period_ms", "less than min_interval_ms"),
        ("[checkpoint]\nmax_hold_ms = 0\n", 2, "[checkpoint] max_hold_ms", "at least 1"),
        ("[checkpoint]\nrepeat_ms = 99999999999\n", 2, "[checkpoint] repeat_ms", "at most 86400000"),
        ("proxy = 3\n", 1, "[proxy]", "must be a table, not 3"),
        ("policy = 3\n", 1, "[[policy]]", "must be an array of tables"),
        ("[[policy]]\nmatch = {}\naction = 'eat'\n", 3, "[[policy]] action", "eat"),
        ("[[policy]]\naction = 'drop'\nmatch = { prot = 1 }\n", 3, "[[policy]] match.prot", "no such key"),
        (
            "[[policy]]\naction = ['drop']\n",
            2,
            "[[policy]] action",
            "must be one of compare, bypass, drop, not an array",
        ),
        ("[[policy]]\naction = { a = 1 }\n", 2, "[[policy]] action", "bypass, drop, not a table"),
        ("[[policy]]\nmatch = {}\n", 1, "[[policy]] action", "missing; add compare"),
        (
            "[[policy]]\naction = 'drop'\n[policy.match]\nport = '-5'\n",
            4,
            "[[policy]] match.port",
            "a port from 0 to 65535",
        ),
        ("[compare]\nmax_flows = 0x" + "f" * 5000 + "\n", 2, "[compare] max_flows", "a number of thousands"),
        ("x = " + "9" * 5000 + "\n", 1, "a number has thousands of digits", "no setting needs that"),
        ('[proxy]\n"a\\nb\\u001b" = 1\n', 1, "[proxy] a?b?", "unknown key"),
    ],
)
def test_one_wrong_setting_is_one_line(text: str, line: int, where: str, what: str) -> None:
    [found] = [p for p in problems(text + NIC) if where in p][:1]
    assert re.match(rf"{FILE}:{line}: {re.escape(where)}[:;] ", found)
    assert what in found


def test_a_rule_tells_all_that_is_wrong_with_it() -> None:
    match = "{ port = true, local = '192.0.2.1/24', vlan = 5000 }"
    text = f"[[policy]]\nmatch = {match}\naction = 'eat'\nacton = 1\n"
    lines = [line.split(":", 2)[2] for line in problems(NIC + text)]
    assert lines == [
        " [[policy]] match.port: must be a number or a string, not true",
        " [[policy]] match.local: 192.0.2.1/24 has host bits set",
        " [[policy]] match.vlan: 5000 is not a number from 0 to 4095",
        " [[policy]] action: must be one of compare, bypass, drop, not 'eat'",
        " [[policy]] acton: unknown key; did you mean 'action'?",
    ]


@pytest.mark.parametrize(
    ("match", "key", "what"),
    [
        ({"protocol": "icmp", "port": 3}, "match.port", "icmp has no ports"),
        ({"protocol": 47, "local_port": "1-2"}, "match.local_port", "gre has no ports"),
        ({"protocol": "200", "remote_port": 1}, "match.remote_port", "protocol 200 has no ports"),
        ({"protocol": "tcp", "ethertype": "0x88b5"}, "match.protocol", "ethertype 0x88b5 is not IP"),
        ({"address": "192.0.2.1", "ethertype": 0x88B5}, "match.address", "is not IP"),
        ({"port": 1, "ethertype": 2054}, "match.port", "ethertype 0x0806 is not IP"),
        ({"local": "192.0.2.1", "remote": "2001:db8::1"}, "match", "local IPv4 and remote IPv6 in one rule"),
        ({"protocol": "icmp", "address": "2001:db8::/32"}, "match", "protocol IPv4 and address IPv6"),
        ({"protocol": "icmpv6", "address": "192.0.2.1"}, "match", "protocol IPv6 and address IPv4"),
        ({"protocol": "tcp", "address": "192.0.2.1", "ethertype": "0x86dd"}, "match", "ethertype IPv6"),
        ({"address": "fe80::1%eth0"}, "match.address", "must be an address or network"),
    ],
)
def test_a_rule_that_no_packet_could_match(match: dict[str, object], key: str, what: str) -> None:
    with pytest.raises(ValueError, match=re.escape(what)) as error:
        config.policy_rule({"match": match, "action": "bypass"})
    assert [fault for fault, _ in error.value.faults] == [key]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "match",
    [
        {"protocol": "icmp", "address": "192.0.2.1"},
        {"protocol": "TCP", "port": "6000-6100", "address": "2001:db8::1", "ethertype": 0x86DD},
        {"ethertype": "0x88b5", "vlan": "1.2"},
        {"port": 53},
        {"protocol": "17", "port": "53"},
    ],
)
def test_rules_that_packets_match(match: dict[str, object]) -> None:
    assert config.policy_rule({"match": match, "action": "drop"}).match == match


def test_rules_that_leave_nothing_to_compare() -> None:
    every = [config.policy_rule({"action": action}) for action in ("compare", "bypass", "drop")]
    some = config.policy_rule({"match": {"protocol": "udp"}, "action": "bypass"})
    assert list(config.unwise([some, every[0], every[1]])) == []
    assert [number for number, _ in config.unwise([some, every[1], every[2]])] == [2]
    [(_, what)] = config.unwise([every[2]])
    assert "only what an earlier rule lets through is released" in what


KEYS = [
    *("proxy", "nic", "compare", "checkpoint", "log", "policy", "match", "action", "name", "control"),
    *(key for model in (sections.Proxy, sections.Nic, sections.Compare) for key in model.model_fields),
    *(key for model in (sections.Checkpoint, sections.Log) for key in model.model_fields),
    *(*policies.KEYS, "in", "out"),
]
ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["tcp", "icmp", "drop", "auto", "192.0.2.1", "::1/64", "-5", "1-2", "0x800", "unix:/a"])
)
VALUES = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=8,
)
TABLES = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4)


def toml(value: object) -> str:
    """A value as TOML; what TOML has no word for is a date."""
    match value:
        case dict():
            return "{" + ", ".join(f"{toml(key)} = {toml(each)}" for key, each in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(toml, value)) + "]"
        case bool() | float():
            return str(value).lower()
        case None:
            return "1979-05-27T07:32:00Z"
        case int():
            return hex(value) if value >= 0 else str(value)
        case str():
            return '"' + "".join(f"\\U{ord(letter):08x}" for letter in value) + '"'
    raise TypeError(value)


@given(st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), VALUES | TABLES, max_size=5))
def test_values_of_every_type_are_read_or_refused(document: dict[str, object]) -> None:
    encodable = "".join(f"{toml(key)} = {toml(value)}\n" for key, value in document.items())
    try:
        config.parse(encodable, FILE)
    except ConfigError as error:
        for line in error.lines:
            assert line.isprintable()
            assert line.startswith(f"{FILE}:")


@given(VALUES | TABLES)
def test_rules_of_every_type_are_taken_or_refused(table: object) -> None:
    with contextlib.suppress(policies.PolicyError):
        assert config.policy_rule(table).action in ("compare", "bypass", "drop")


@pytest.mark.parametrize(
    ("endpoint", "what"),
    [
        ("eth0", "is not an endpoint; write tap:NAME"),
        ("veth:eth0", "is not an endpoint"),
        ("packet:", "name is empty"),
        ("packet:abcdefghijklmnop", "longer than 15 bytes"),
        ("packet:a b", "cannot be an interface's name"),
        ("packet:a/b", "cannot be an interface's name"),
        ("packet:..", "cannot be an interface's name"),
        ("packet:eth0,bridge=br0", "bridge= goes with tap: only"),
        ("tap:t0,bridge=", "name is empty"),
        ("tap:t0,bridge=a,bridge=b", "given twice"),
        ("tap:t0,mtu=9000", "is not an option of tap:"),
        ("tap:t0,bridge=t0", "two interfaces"),
        ("unix:rel", "not absolute"),
        ("tcp:host", "has no port"),
        ("tcp:host:0", "is not a port"),
        ("tcp:host:99999", "is not a port"),
        ("tcp:host:1e3", "is not a port"),
        ("tcp:::1:5", "brackets"),
    ],
)
def test_wrong_endpoints(endpoint: str, what: str) -> None:
    [found] = problems(NIC.replace("packet:pvm0", endpoint))
    assert found.startswith(f"{FILE}:3: [[nic]] primary: ")
    assert what in found


SOCKETS = """
[[nic]]
uplink = "tap:colo0"
primary = "unix:/run/pvm.sock"
secondary = "tcp:[::1]:5"
"""


def test_ports_on_sockets() -> None:
    [nic] = config.parse(SOCKETS, FILE).nics
    assert nic.endpoints == (Tap("colo0"), Unix("/run/pvm.sock"), Tcp("::1", 5))
    assert not nic.vnet_hdr
    [nic] = config.parse(SOCKETS.replace("tap:", "packet:") + "vnet_hdr = true\n", FILE).nics
    assert nic.vnet_hdr


SPLIT = SOCKETS.replace('"tcp:[::1]:5"', '{ in = "tcp:[::1]:5", out = "unix:/run/svm.sock" }')


def test_a_port_of_two_sockets() -> None:
    [nic] = config.parse(SPLIT, FILE).nics
    assert nic.secondary == Split(Tcp("::1", 5), Unix("/run/svm.sock"))
    assert str(nic.secondary) == "in tcp:[::1]:5 out unix:/run/svm.sock"
    assert parts(nic.secondary) == (Tcp("::1", 5), Unix("/run/svm.sock"))


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("in = ", "inn = ", 'a port of two sockets is { in = "…", out = "…" }, and nothing else'),
        (', out = "unix:/run/svm.sock"', "", 'a port of two sockets is { in = "…", out = "…" }'),
        ('"tcp:[::1]:5"', '"packet:svm0"', "'packet:svm0' is not a socket; write unix:PATH or tcp:HOST:PORT"),
        ('"tcp:[::1]:5"', "5", "must be an endpoint in quotes, not 5"),
        (
            '"unix:/run/svm.sock"',
            '"unix:/run/pvm.sock"',
            "'unix:/run/pvm.sock' is the primary of nic 0 already; give each port a socket of its own",
        ),
        (
            '"unix:/run/svm.sock"',
            '"tcp:[::1]:5"',
            "'tcp:[::1]:5' is the secondary of nic 0 already; give each port a socket of its own",
        ),
    ],
)
def test_wrong_ports_of_two_sockets(old: str, new: str, what: str) -> None:
    [found] = problems(SPLIT.replace(old, new))
    assert "[[nic]] secondary: " in found
    assert what in found


def test_sockets_beside_a_packet_socket_carry_its_headers() -> None:
    [found] = problems(SOCKETS.replace("tap:", "packet:"))
    assert "vnet_hdr: a packet: port has virtio-net headers" in found
    [found] = problems(NIC + "vnet_hdr = true\n")
    assert "vnet_hdr: has no meaning without a unix: or tcp: port" in found


def test_an_endpoint_that_is_no_string() -> None:
    [found] = problems(NIC.replace('"packet:pvm0"', "5"))
    assert "[[nic]] primary: must be an endpoint in quotes, not 5" in found


def test_a_missing_port_names_the_line_of_its_nic() -> None:
    [found] = problems(NIC + "[[nic]]\nuplink = 'tap:a'\nprimary = 'tap:b'\n")
    assert found == f"{FILE}:5: [[nic]] secondary: missing; add it"


def test_no_nic() -> None:
    assert problems("[proxy]\n") == [
        f"{FILE}:1: [[nic]]: no network interface; add a [[nic]] with uplink, primary and secondary"
    ]
    assert "add a [[nic]]" in problems("nic = []")[0]


def test_the_same_interface_twice_within_a_nic_and_across() -> None:
    second = NIC.replace("packet:eth0", "tap:pvm0")
    found = problems(NIC + second)
    assert found[0].startswith(f"{FILE}:6: [[nic]] uplink: 'tap:pvm0' is the primary of nic 0 already")
    assert len(found) == 3


def test_a_port_is_no_bridge() -> None:
    [found] = problems(NIC.replace("packet:eth0", "tap:t0,bridge=pvm0"))
    assert found.startswith(f"{FILE}:2: [[nic]] uplink: the bridge 'pvm0' is the primary of nic 0")


def test_two_taps_may_share_a_bridge() -> None:
    text = NIC.replace("packet:eth0", "tap:t0,bridge=br0") + (
        "[[nic]]\nuplink='tap:t1,bridge=br0'\nprimary='tap:p1'\nsecondary='tap:s1'\n"
    )
    assert len(config.parse(text, FILE).nics) == 2


def test_all_problems_at_once_in_the_order_of_the_file() -> None:
    text = "[proxy]\nnmae='x'\n[compare]\nreorder_ms=-1\nbad=2\n[[nic]]\nuplink='x'\n[checkpoint]\nvmm=1\n"
    found = problems(text)
    lines = [int(line.split(":")[1]) for line in found]
    assert lines == sorted(lines)
    assert lines == [2, 4, 5, 6, 6, 7, 9]


@pytest.mark.parametrize("text", ["[proxy\n", "[proxy]\nname = \n", "a = 1\na = 2\n", 'x = "', "\0"])
def test_broken_toml_names_the_line(text: str) -> None:
    [found] = problems(text)
    assert found.startswith(f"{FILE}:")
    assert "not valid TOML" in found


def test_deep_nesting_is_no_traceback() -> None:
    [found] = problems("a = " + "[" * 100_000)
    assert "nested too deep" in found


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path, what in ((tmp_path / "none.toml", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(ConfigError, match=what):
            config.load(path)
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"[proxy]\nname = '\xe9'\n")
    with pytest.raises(ConfigError, match="byte 16 is not UTF-8"):
        config.load(latin)


def test_lines_of_keys_in_strange_but_valid_toml() -> None:
    text = '''# [not] = "a key"
top.dotted = 1
[a."b c"]
text = """
[fake]
key = 1
"""
after = [
  "x = 1",  # y = 2
  { z = 3 },
]
last = 'one # not a comment'
[[n]]
k = 1
[n.sub]
s = 1
[[n]]
k = 2
'''
    lines = key_lines(text)
    assert lines == {
        (): 1,
        ("top", "dotted"): 2,
        ("a", "b c"): 3,
        ("a", "b c", "text"): 4,
        ("a", "b c", "after"): 8,
        ("a", "b c", "last"): 12,
        ("n",): 13,
        ("n", 0): 13,
        ("n", 0, "k"): 14,
        ("n", 0, "sub"): 15,
        ("n", 0, "sub", "s"): 16,
        ("n", 1): 17,
        ("n", 1, "k"): 18,
    }
    assert line_of(lines, ("n", 1, "missing", "deeper")) == 17
