"""How the oracle names a flow in a divergence."""

from ipaddress import ip_address


def name(key: tuple[object, ...]) -> str:
    """The flow as divergences name it: `tcp 192.0.2.2:80 > 192.0.2.1:40000`, the VM first."""
    word = protocol(key)
    _, _, _, local, lport, remote, rport = key[:7]
    if word in ("tcp", "udp") and isinstance(local, bytes) and isinstance(remote, bytes):
        form = "{}:{}" if len(local) == 4 else "[{}]:{}"
        ends = form.format(ip_address(local), lport), form.format(ip_address(remote), rport)
        return f"{word} {ends[0]} > {ends[1]}"
    return word


def protocol(key: tuple[object, ...]) -> str:
    """The protocol of a flow in one word."""
    if key[0] in ("ip", "fragment"):
        return {1: "icmp", 58: "icmpv6"}.get(int(str(key[1])), f"ip-{key[1]}")
    return str(key[0])
