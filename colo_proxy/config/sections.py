"""What a configuration may contain: a model for each section, and `Config`, all of them together.

A model checks what can be seen in its own table; what takes two of them is in `reader`. Nothing here looks
at the host: that is `colo_proxy.daemon.check`.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator

from colo_proxy import endpoints
from colo_proxy.config.problems import shown
from colo_proxy.core.policy import PolicyRule
from colo_proxy.endpoints import Endpoint, Split, Tcp, Unix
from colo_proxy.errors import ConfigError

MIB = 1 << 20
AUTO = 0  # timeout_ms: learn it from the SVM's usual lag
_LONGEST_PATH = 4095  # PATH_MAX less its NUL, linux/limits.h


def _endpoint(value: object) -> Endpoint:
    if not isinstance(value, str):
        raise ValueError(f"must be an endpoint in quotes, not {shown(value)}")
    return endpoints.parse(value)


def _port(value: object) -> Endpoint:
    """An endpoint, or a table of two sockets."""
    if not isinstance(value, dict):
        return _endpoint(value)
    if set(value) != {"in", "out"}:
        raise ValueError('a port of two sockets is { in = "…", out = "…" }, and nothing else')
    return Split(_stream_endpoint(value["in"]), _stream_endpoint(value["out"]))


def _stream_endpoint(value: object) -> Unix | Tcp:
    endpoint = _endpoint(value)
    if not isinstance(endpoint, Unix | Tcp):
        raise ValueError(f"{str(endpoint)!r} is not a socket; write unix:PATH or tcp:HOST:PORT")
    return endpoint


def _timeout(value: object) -> object:
    if isinstance(value, str):
        if value == "auto":
            return AUTO
        raise ValueError(f'must be a number of milliseconds or "auto", not {shown(value)}')
    if value == AUTO and not isinstance(value, bool):
        raise ValueError('must be at least 1; write "auto" to have it learned')
    return value


def _name(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", value):
        raise ValueError(
            f"{shown(value)} is not a valid name; use up to 64 letters, digits, '-', '_' and '.'"
        )
    return value


def _socket(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be a path in quotes, not {shown(value)}")
    return endpoints.socket_path(value)


def _group(value: object) -> str:
    if not isinstance(value, str) or (value and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}", value)):
        raise ValueError(f'must be the name of a group, or "", not {shown(value)}')
    return value


def _mode(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"0?[67][0-7]0", value):
        raise ValueError(f'must be an octal mode that keeps others out, such as "0660", not {shown(value)}')
    return value


def _address(value: object) -> tuple[str, int] | None:
    if not isinstance(value, str):
        raise ValueError(f'must be "HOST:PORT", or "" for off, not {shown(value)}')
    return endpoints.split_host_port(value) if value else None


def _directory(value: object) -> str:
    if not isinstance(value, str) or (value and not value.startswith("/")) or "\0" in value:
        raise ValueError(f'must be an absolute path, or "" for off, not {shown(value)}')
    return value


def _host(value: object) -> str:
    # Lower case: names in certificates are compared without regard to it, records with.
    if not isinstance(value, str) or not endpoints.HOST_NAME.fullmatch(value) or value != value.lower():
        raise ValueError(
            f"{shown(value)} is not a host name; use up to 63 lower-case letters, digits, '-' and '.'"
        )
    return value


def _host_port(value: object) -> tuple[str, int]:
    if not isinstance(value, str):
        raise ValueError(f'must be "HOST:PORT", not {shown(value)}')
    return endpoints.split_host_port(value)


def _file(value: object) -> str:
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value or len(value) > _LONGEST_PATH:
        raise ValueError(f"must be an absolute path, not {shown(value)}")
    return value


def _interface(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be the name of an interface, not {shown(value)}")
    return endpoints.interface_name(value)


def _urls(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError(f'must be an array such as ["https://192.0.2.1:2379"], not {shown(value)}')
    for url in value:
        match = re.fullmatch(r"https?://([^/?#@]+)", url) if isinstance(url, str) else None
        if not match:
            raise ValueError(f"{shown(url)} is not an endpoint of etcd; write http(s)://HOST:PORT")
        endpoints.split_host_port(match[1])
    if len(set(value)) < len(value):
        raise ValueError("an endpoint is there twice; remove one of them")
    return tuple(value)


AnyEndpoint = Annotated[Endpoint, PlainValidator(_port)]
StreamEndpoint = Annotated[Unix | Tcp, PlainValidator(_stream_endpoint)]
Milliseconds = Annotated[int, Field(ge=0, le=86_400_000)]


class Section(BaseModel):
    """The text below each key is its row in docs/configuration.md: `make reference`."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Proxy(Section):
    """`[proxy]`: who we are and where we can be reached. `name` is the file's where it is not given."""

    name: Annotated[str, PlainValidator(_name)]
    """up to 64 letters, digits, `-`, `_`, `.`; shown in the greeting, in `status` and in `colo_proxy_info`"""
    control: Annotated[str, PlainValidator(_socket)]
    """path of the control socket. Its directory must exist"""
    control_group: Annotated[str, PlainValidator(_group)] = ""
    """the group whose members may use the control socket; `""`: the group of the proxy's user"""
    control_mode: Annotated[str, PlainValidator(_mode)] = "0660"
    """the control socket's permissions in octal, as for chmod(1); others must have none"""
    metrics: Annotated[tuple[str, int] | None, PlainValidator(_address)] = ("127.0.0.1", 9308)
    """the address where Prometheus reads `/metrics`; `""` for none"""
    reports: Annotated[str, PlainValidator(_directory)] = ""
    """an absolute directory for reports of divergences, `""` for none. `colo-proxy explain` and Wireshark
    read them"""
    max_reports: Annotated[int, Field(ge=1, le=100_000)] = 100
    """how many reports are kept; the oldest are deleted"""


PORTS = ("uplink", "primary", "secondary")


class Nic(Section):
    """`[[nic]]`: one network interface of the VM, as three ports."""

    uplink: AnyEndpoint
    """the side of the clients"""
    primary: AnyEndpoint
    """the PVM's interface"""
    secondary: AnyEndpoint
    """the SVM's interface"""
    vnet_hdr: bool = False
    """whether ports on sockets carry virtio-net headers, like QEMU's `vnet_hdr_support`; needed if another
    port is a `packet:` port"""

    @property
    def endpoints(self) -> tuple[Endpoint, Endpoint, Endpoint]:
        """Of the ports, in the order of `Port`."""
        return self.uplink, self.primary, self.secondary

    @property
    def ports(self) -> dict[str, Endpoint]:
        """The ports, by their keys."""
        return dict(zip(PORTS, self.endpoints, strict=True))


class PairNic(Section):
    """`[[nic]]` with `[pair]`: one network interface of the VM, as two ports of this host."""

    uplink: AnyEndpoint
    """the side of the clients"""
    carrier: Annotated[str, PlainValidator(_interface)] = ""
    """the interface whose carrier says whether the uplink reaches clients, such as the bridge's NIC; `""`:
    none"""
    vm: AnyEndpoint
    """the interface of this host's VM, whether it is the primary or the secondary"""
    vnet_hdr: bool = False
    """as above"""

    @property
    def ports(self) -> dict[str, Endpoint]:
        """The ports, by their keys."""
        return {"uplink": self.uplink, "vm": self.vm}


class Pair(Section):
    """`[pair]`: this host and the other one, and the link between them."""

    host: Annotated[str, PlainValidator(_host)]
    """this host's name in lower case: in the record of the right to speak, and in its certificate"""
    peer_host: Annotated[str, PlainValidator(_host)]
    """the other host's name"""
    listen: Annotated[tuple[str, int], PlainValidator(_host_port)]
    """the address on which this host awaits the other"""
    peer: Annotated[tuple[str, int], PlainValidator(_host_port)]
    """the address on which the other host listens"""
    certificate: Annotated[str, PlainValidator(_file)] = ""
    """path of this host's certificate (PEM); required unless `insecure`"""
    key: Annotated[str, PlainValidator(_file)] = ""
    """path of its key (PEM), which only the proxy's user may read; required unless `insecure`"""
    authority: Annotated[str, PlainValidator(_file)] = ""
    """path of the certificates that have signed those of both hosts (PEM); required unless `insecure`"""
    insecure: bool = False
    """whether the link is plain TCP, which anybody on its way can read and change"""
    heartbeat_ms: Annotated[int, Field(ge=5, le=1000)] = 20
    """the interval of the heartbeats; at most a third of `timeout_ms`"""
    timeout_ms: Annotated[int, Field(ge=50, le=60_000)] = 150
    """without a sign of the other host for so long, this host suspects that it is dead"""
    vm_timeout_ms: Annotated[int, Field(ge=100, le=600_000)] = 2000
    """a VM whose QEMU has not answered for so long counts as dead; more than its longest pause under load"""
    state_dir: Annotated[str, PlainValidator(_file)]
    """a directory of this host's disk that outlives a power failure, and is of this VM alone"""


class Arbiter(Section):
    """`[arbiter]`: the store that says which host may speak."""

    kind: Literal["etcd", "directory"]
    """what it is"""
    cluster: Annotated[str, PlainValidator(_name)] = "default"
    """keeps VMs of the same `name` in one store apart; the same on both hosts"""
    endpoints: Annotated[tuple[str, ...], PlainValidator(_urls)] = ()
    """the members of etcd, as `http(s)://HOST:PORT`, best all of them; required with `kind = "etcd"`"""
    certificate: Annotated[str, PlainValidator(_file)] = ""
    """path of the certificate that this host shows to etcd (PEM); required with `https`"""
    key: Annotated[str, PlainValidator(_file)] = ""
    """path of its key (PEM); required with `https`"""
    authority: Annotated[str, PlainValidator(_file)] = ""
    """path of the certificates that have signed those of etcd's members (PEM); required with `https`"""
    path: Annotated[str, PlainValidator(_file)] = ""
    """a directory that both hosts share; required with `kind = "directory"`"""


class Compare(Section):
    """`[compare]`: times in milliseconds, bounds in bytes. `timeout_ms` 0 (AUTO) is learned."""

    timeout_ms: Annotated[int, Field(ge=0, le=3_600_000), BeforeValidator(_timeout)] = AUTO
    """output of one guest that the other has not sent after this time is a divergence. `"auto"`: 3000 at
    first, then 220 ms (Linux retransmits after 200 ms and some ticks) plus four times the largest delay of
    the SVM in the last 10 to 20 s, at most 3000"""
    reorder_ms: Annotated[int, Field(ge=0, le=10_000)] = 5
    """for how long the order of a flow's datagrams may differ between the guests; less than `timeout_ms`"""
    max_held_bytes: Annotated[int, Field(ge=MIB, le=1 << 40)] = 64 * MIB
    """bound on the memory that holds frames, of all flows and NICs. At the bound, frames are dropped, counted
    as `memory`, and a checkpoint is requested"""
    max_flow_bytes: Annotated[int, Field(ge=128 * 1024, le=1 << 40)] = 16 * MIB
    """the same for each guest's side of one flow; never more than `max_held_bytes`"""
    max_flows: Annotated[int, Field(ge=1, le=10_000_000)] = 100_000
    """bound on the number of flows. At the bound, the flow that has been idle longest and holds no state that
    is needed is forgotten. If there is none, output of new flows is dropped, counted as `flows`, and a
    checkpoint is requested"""

    retransmissions: Literal["check", "trust"] = "trust"
    """whether the PVM's TCP retransmissions must repeat what both guests have sent before
    ([T14](comparison.md#32-rules)). `"trust"`: they are released at once, whatever they contain. `"check"`:
    their bytes are compared with digests, which cost 4 MiB for each NIC and CPU time for every byte of TCP"""


class Checkpoint(Section):
    """`[checkpoint]`: the VMM, how it is reached, and when a checkpoint is requested."""

    vmm: Literal["qmp", "control", "xen", "none"] = "control"
    """what makes checkpoints, see below"""
    primary: StreamEndpoint | None = None
    """`unix:` or `tcp:` QMP socket of the PVM; required with `vmm = "qmp"`, an error with any other"""
    secondary: StreamEndpoint | None = None
    """the same for the SVM"""
    vm: StreamEndpoint | None = None
    """with `[pair]`, in the place of `primary` and `secondary`: `unix:` or `tcp:` QMP socket of this host's
    VM"""
    notify_dev: StreamEndpoint | None = None
    """`unix:` or `tcp:` socket that Xen's libxl connects to; required with `vmm = "xen"`, an error with any
    other"""
    min_interval_ms: Milliseconds = 50
    """the shortest time from the end of a checkpoint to the next request"""
    period_ms: Milliseconds = 20_000
    """a checkpoint is requested this long after the last commit even if nothing differs; 0 for never, else at
    least `min_interval_ms`"""
    max_hold_ms: Annotated[int, Field(ge=1, le=86_400_000)] = 10_000
    """a checkpoint that has been wanted for so long raises the alarm: an event, a log line, a metric. Output
    is still held; it is never released for that reason"""
    repeat_ms: Annotated[int, Field(ge=10, le=86_400_000)] = 1000
    """the interval at which a request is repeated until the VMM begins"""


class Log(Section):
    """`[log]`: what is written to standard error, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """the lowest level that is logged"""
    format: Literal["text", "json"] = "text"
    """`"text"` for people; `"json"`: one object in each line, with `time` (RFC 3339, UTC), `level`,
    `logger`, `message`, for an event also `event` and `data` as on the [control socket](control.md#events),
    and for an internal error `trace`"""


@dataclass(frozen=True, slots=True)
class TwoHosts:
    """What a configuration with `[pair]` has besides."""

    pair: Pair
    arbiter: Arbiter
    nics: tuple[PairNic, ...]


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration in which all that can be checked without the host has been."""

    path: Path
    proxy: Proxy
    nics: tuple[Nic, ...]  # none where there are two hosts: `two_hosts` has them
    compare: Compare
    checkpoint: Checkpoint
    log: Log
    policies: tuple[PolicyRule, ...] = field(default=())
    two_hosts: TwoHosts | None = None

    def require_one_host(self) -> None:
        """Raise ConfigError where it has a `[pair]`: this version cannot run two hosts."""
        if self.two_hosts:
            what = "two hosts are not available in this version: the proxy does not run with [pair]"
            error = ConfigError([f"{self.path}: [pair]: {what}; give it a configuration of one host"])
            error.exit_status = os.EX_CONFIG
            raise error
