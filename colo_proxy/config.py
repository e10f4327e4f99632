"""The configuration file: TOML in, a checked `Config` out, every problem named with its line.

Each section is checked by itself, so that one report shows all that is wrong. Nothing here looks at
the host: that is `colo_proxy.host.check`.
"""

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, ValidationError
from pydantic_core import ErrorDetails

from colo_proxy import endpoints, tomllines
from colo_proxy.datapath.policy import PolicyRule
from colo_proxy.endpoints import Endpoint, Packet, Split, Tap, Tcp, Unix
from colo_proxy.errors import ConfigError

MIB = 1 << 20
AUTO = 0  # timeout_ms: learn it from the SVM's usual lag


def _endpoint(value: object) -> Endpoint:
    if not isinstance(value, str):
        raise ValueError(f"must be an endpoint in quotes, not {_shown(value)}")
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
        raise ValueError(f"{str(endpoint)!r} is no socket; write unix:PATH or tcp:HOST:PORT")
    return endpoint


def _timeout(value: object) -> object:
    if isinstance(value, str):
        if value == "auto":
            return AUTO
        raise ValueError(f'must be a number of milliseconds or "auto", not {_shown(value)}')
    if value == AUTO and not isinstance(value, bool):
        raise ValueError('must be at least 1; write "auto" to have it learned')
    return value


def _name(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", value):
        raise ValueError(f"{_shown(value)} is no name; use up to 64 letters, digits, '-', '_' and '.'")
    return value


def _socket(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be a path in quotes, not {_shown(value)}")
    return endpoints.socket_path(value)


def _address(value: object) -> tuple[str, int] | None:
    if not isinstance(value, str):
        raise ValueError(f'must be "HOST:PORT", or "" for off, not {_shown(value)}')
    return endpoints.split_host_port(value) if value else None


def _directory(value: object) -> str:
    if not isinstance(value, str) or (value and not value.startswith("/")) or "\0" in value:
        raise ValueError(f'must be an absolute path, or "" for off, not {_shown(value)}')
    return value


AnyEndpoint = Annotated[Endpoint, PlainValidator(_port)]
StreamEndpoint = Annotated[Unix | Tcp, PlainValidator(_stream_endpoint)]
Milliseconds = Annotated[int, Field(ge=0, le=86_400_000)]


class _Section(BaseModel):
    """The text below each key is its row in docs/configuration.md: `make reference`."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Proxy(_Section):
    """`[proxy]`: who we are and where we can be reached. `name` is the file's where it is not given."""

    name: Annotated[str, PlainValidator(_name)]
    """up to 64 letters, digits, `-`, `_`, `.`; said in the greeting, in `status`, in `colo_proxy_info`"""
    control: Annotated[str, PlainValidator(_socket)]
    """path of the control socket (mode 0660). Its directory must exist"""
    metrics: Annotated[tuple[str, int] | None, PlainValidator(_address)] = ("127.0.0.1", 9308)
    """where Prometheus reads `/metrics`; `""` turns it off"""
    reports: Annotated[str, PlainValidator(_directory)] = ""
    """an absolute directory for reports of divergences, `""` for none; `colo-proxy explain` and Wireshark
    read them"""
    max_reports: Annotated[int, Field(ge=1, le=100_000)] = 100
    """how many reports are kept; the oldest go first"""


PORTS = ("uplink", "primary", "secondary")


class Nic(_Section):
    """`[[nic]]`: one network interface of the VM, as three ports."""

    uplink: AnyEndpoint
    """where clients are"""
    primary: AnyEndpoint
    """the PVM's interface"""
    secondary: AnyEndpoint
    """the SVM's interface"""
    vnet_hdr: bool = False
    """whether ports on sockets carry virtio-net headers, as QEMU's `vnet_hdr_support` says; needed beside
    `packet:` ports"""

    @property
    def endpoints(self) -> tuple[Endpoint, Endpoint, Endpoint]:
        """Of the ports, in the order of `Port`."""
        return self.uplink, self.primary, self.secondary


class Compare(_Section):
    """`[compare]`: times in milliseconds, bounds in bytes. `timeout_ms` 0 (AUTO) is learned."""

    timeout_ms: Annotated[int, Field(ge=0, le=3_600_000), BeforeValidator(_timeout)] = AUTO
    """output that the other guest has not made after so long is a divergence. A number fixes it. `"auto"`:
    3000 at first, then 220 ms (Linux repeats a segment after 200 ms and some ticks) and four times the
    largest lag of the SVM seen in the last 10 to 20 s, at most 3000"""
    reorder_ms: Annotated[int, Field(ge=0, le=10_000)] = 5
    """how long datagrams of a flow may come in different orders; less than `timeout_ms`"""
    max_held_bytes: Annotated[int, Field(ge=MIB, le=1 << 40)] = 64 * MIB
    """bound on the memory that holds frames, all flows and NICs. At it frames are dropped, counted as
    `memory`, and a checkpoint is asked for"""
    max_flow_bytes: Annotated[int, Field(ge=128 * 1024, le=1 << 40)] = 16 * MIB
    """the same for each side of one flow; lowered to `max_held_bytes` where that is less"""
    max_flows: Annotated[int, Field(ge=1, le=10_000_000)] = 100_000
    """bound on flows. At it the longest idle flow with nothing to lose makes room, or else output of new
    flows is dropped, counted as `flows`, and a checkpoint is asked for"""


class Checkpoint(_Section):
    """`[checkpoint]`: the VMM, how it is reached, and when it is asked."""

    vmm: Literal["qmp", "control", "xen", "none"] = "control"
    """who makes checkpoints, see below"""
    primary: StreamEndpoint | None = None
    """`unix:` or `tcp:` QMP socket of the PVM; with `vmm = "qmp"` only, where it is required"""
    secondary: StreamEndpoint | None = None
    """likewise of the SVM"""
    notify_dev: StreamEndpoint | None = None
    """`unix:` or `tcp:` socket that Xen's libxl connects to; with `vmm = "xen"` only, where it is required"""
    min_interval_ms: Milliseconds = 50
    """no checkpoint is requested sooner after the end of the last one"""
    period_ms: Milliseconds = 20_000
    """a checkpoint is requested this long after the last commit even if nothing differs; 0 turns it off, else
    not less than `min_interval_ms`"""
    max_hold_ms: Annotated[int, Field(ge=1, le=86_400_000)] = 10_000
    """output that has waited so long for a checkpoint raises the alarm: event, log line, metric. It is never
    released for that"""
    repeat_ms: Annotated[int, Field(ge=10, le=86_400_000)] = 1000
    """how often a request is repeated while the VMM does not begin"""


class Log(_Section):
    """`[log]`: what is said on standard error, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """the least that is said"""
    format: Literal["text", "json"] = "text"
    """`"text"` for people; `"json"`: an object a line with `time` (seconds since 1970), `level`, `logger`,
    `message` and, for a fault of the proxy's own, `trace`"""


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration in which all that can be checked without the host has been."""

    path: Path
    proxy: Proxy
    nics: tuple[Nic, ...]
    compare: Compare
    checkpoint: Checkpoint
    log: Log
    policies: tuple[PolicyRule, ...] = field(default=())


# The socket endpoints that each VMM adapter needs; it takes no others.
_VMM_ENDPOINTS: Mapping[str, tuple[str, ...]] = {
    "qmp": ("primary", "secondary"),
    "xen": ("notify_dev",),
    "control": (),
    "none": (),
}
_SECTIONS = ("proxy", "nic", "compare", "checkpoint", "log", "policy")


def load(path: str | Path) -> Config:
    """Read and check a configuration file. Raises ConfigError with a line for each problem."""
    path = Path(path)
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}; give a configuration file that can be read"]) from None
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: byte {error.start} is not UTF-8; TOML files are UTF-8"]) from None
    return parse(text, path)


def parse(text: str, path: Path) -> Config:
    """Check the text of a configuration; `path` is for messages and the default name. Raises ConfigError."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        where = re.search(r"\(at line (\d+), column (\d+)\)", message)
        line = where[1] if where else str(len(text.splitlines()) or 1)
        column = f" (column {where[2]})" if where else ""
        what = message.partition(" (at ")[0]
        raise ConfigError([f"{path}:{line}: not valid TOML: {what}{column}; correct the line"]) from None
    except RecursionError:
        raise ConfigError(
            [f"{path}:1: arrays or tables are nested too deep; no setting needs that"]
        ) from None
    return _Reader(text, path, document).read()


def policy_rule(table: object) -> PolicyRule:
    """One rule from its table: `match` (missing: every flow), `action`. Raises ValueError naming the key."""
    if not isinstance(table, dict):
        raise ValueError(f"must be a table with match and action, not {_shown(table)}")
    for key in table:
        if key not in ("match", "action"):
            raise ValueError(f"{key}: unknown key{_meant(key, ('match', 'action'))}")
    match = table.get("match", {})
    if not isinstance(match, dict):
        raise ValueError(f"match: must be a table, not {_shown(match)}")
    if "action" not in table:
        raise ValueError("action: missing; add compare, bypass or drop")
    return PolicyRule(match, table["action"])


_Model = TypeVar("_Model", bound=_Section)


class _Reader:
    """Reads one document and collects its problems, each with the line it stands on."""

    def __init__(self, text: str, path: Path, document: dict[str, Any]) -> None:
        self.path = path
        self.document = document
        self.lines = tomllines.key_lines(text)
        self.problems: list[tuple[int, str]] = []

    def read(self) -> Config:
        for key in self.document:
            if key not in _SECTIONS:
                self.add((key,), f"unknown section{_meant(key, _SECTIONS)}")
        proxy = self.section("proxy", Proxy, self.proxy_defaults())
        nics = self.nics()
        compare = self.section("compare", Compare)
        checkpoint = self.section("checkpoint", Checkpoint)
        log = self.section("log", Log)
        policies = list(self.policies())
        if compare:
            compare = self.check_compare(compare)
        if checkpoint:
            self.check_vmm(checkpoint)
        if self.problems:
            raise ConfigError([text for _, text in sorted(self.problems, key=lambda problem: problem[0])])
        assert proxy  # noqa: S101 - a section is None only where it has a problem
        assert compare  # noqa: S101
        assert checkpoint  # noqa: S101
        assert log  # noqa: S101
        return Config(self.path, proxy, tuple(nics), compare, checkpoint, log, tuple(policies))

    def add(self, where: tomllines.Path, what: str) -> None:
        """Note a problem at a key: `FILE:LINE: [section] key: what is wrong; what to do`."""
        line = tomllines.line_of(self.lines, where)
        section = f"[[{where[0]}]]" if where[0] in ("nic", "policy") else f"[{where[0]}]"
        key = ".".join(str(part) for part in where[1:] if not isinstance(part, int))
        self.problems.append((line, f"{self.path}:{line}: {section}{' ' + key if key else ''}: {what}"))

    def proxy_defaults(self) -> dict[str, str]:
        """The name and socket that the file's own name gives."""
        given = self.document.get("proxy")
        name = given.get("name") if isinstance(given, dict) else None
        if not isinstance(name, str):
            name = self.path.stem
        return {"name": name, "control": f"/run/colo-proxy/{name}.sock"}

    def section(
        self, name: str, model: type[_Model], defaults: Mapping[str, object] | None = None
    ) -> _Model | None:
        return self.validate((name,), self.document.get(name, {}), model, defaults or {})

    def validate(
        self, where: tomllines.Path, table: object, model: type[_Model], defaults: Mapping[str, object]
    ) -> _Model | None:
        if not isinstance(table, dict):
            self.add(where, f"must be a table, not {_shown(table)}; write [{where[0]}] above its keys")
            return None
        try:
            return model.model_validate({**defaults, **table})
        except ValidationError as error:
            for problem in error.errors(include_url=False):
                self.add((*where, *problem["loc"][:1]), _explain(problem, tuple(model.model_fields)))
            return None

    def tables(self, name: str) -> Iterator[tuple[int, object]]:
        tables = self.document.get(name, [])
        if not isinstance(tables, list):
            self.add((name,), f"must be an array of tables; write [[{name}]] above the keys of each")
            return
        yield from enumerate(tables)

    def nics(self) -> list[Nic]:
        nics = []
        used: dict[object, str] = {}
        for index, table in self.tables("nic"):
            nic = self.validate(("nic", index), table, Nic, {})
            if nic is None:
                continue
            nics.append(nic)
            self.check_headers(index, nic)
            for port in PORTS:
                endpoint = getattr(nic, port)
                for part in endpoints.parts(endpoint):
                    self.check_used(used, part, index, port)
        for index, nic in enumerate(nics):
            for port in PORTS:
                endpoint = getattr(nic, port)
                if isinstance(endpoint, Tap) and endpoint.bridge in used:
                    self.add(
                        ("nic", index, port),
                        f"the bridge {endpoint.bridge!r} is the {used[endpoint.bridge]}; use another bridge",
                    )
        if not self.document.get("nic"):
            self.add(("nic",), "no network interface; add a [[nic]] with uplink, primary and secondary")
        return nics

    def check_used(self, used: dict[object, str], endpoint: Endpoint, index: int, port: str) -> None:
        what = f"{port} of nic {index}"
        identity = endpoint.name if isinstance(endpoint, Tap | Packet) else endpoint
        if identity in used:
            kind = "an interface" if isinstance(endpoint, Tap | Packet) else "a socket"
            text = f"{str(endpoint)!r} is the {used[identity]} already; give each port {kind} of its own"
            self.add(("nic", index, port), text)
        used.setdefault(identity, what)

    def check_headers(self, index: int, nic: Nic) -> None:
        endpoints = nic.endpoints
        if not any(isinstance(endpoint, Unix | Tcp | Split) for endpoint in endpoints):
            if nic.vnet_hdr:
                self.add(("nic", index, "vnet_hdr"), "has no meaning without a unix: or tcp: port; remove it")
        elif not nic.vnet_hdr and any(isinstance(endpoint, Packet) for endpoint in endpoints):
            self.add(
                ("nic", index, "vnet_hdr"),
                "a packet: port has virtio-net headers, which the sockets must carry; set vnet_hdr = true, "
                "and vnet_hdr_support=on in QEMU",
            )

    def policies(self) -> Iterator[PolicyRule]:
        for index, table in self.tables("policy"):
            try:
                yield policy_rule(table)
            except ValueError as error:
                key = re.match(r"(match|action)\b", str(error))
                self.add(("policy", index, *key.groups()) if key else ("policy", index), str(error))

    def check_compare(self, compare: Compare) -> Compare:
        if compare.max_flow_bytes > compare.max_held_bytes:
            if "max_flow_bytes" in compare.model_fields_set:
                self.add(
                    ("compare", "max_flow_bytes"),
                    f"{compare.max_flow_bytes} is more than max_held_bytes, {compare.max_held_bytes}; "
                    "lower it or raise the other",
                )
            return compare.model_copy(update={"max_flow_bytes": compare.max_held_bytes})
        if compare.timeout_ms != AUTO and compare.reorder_ms >= compare.timeout_ms:
            self.add(
                ("compare", "reorder_ms"),
                f"{compare.reorder_ms} is not less than timeout_ms, {compare.timeout_ms}; lower it",
            )
        return compare

    def check_vmm(self, checkpoint: Checkpoint) -> None:
        needed = _VMM_ENDPOINTS[checkpoint.vmm]
        for key in ("primary", "secondary", "notify_dev"):
            given = getattr(checkpoint, key) is not None
            if key in needed and not given:
                self.add(
                    ("checkpoint", key), f'missing; vmm = "{checkpoint.vmm}" needs a unix: or tcp: socket'
                )
            if given and key not in needed:
                self.add(("checkpoint", key), f'has no meaning with vmm = "{checkpoint.vmm}"; remove it')
        if given_same(checkpoint.primary, checkpoint.secondary):
            self.add(("checkpoint", "secondary"), "is the socket of the primary; give the secondary's own")
        if 0 < checkpoint.period_ms < checkpoint.min_interval_ms:
            self.add(
                ("checkpoint", "period_ms"),
                f"{checkpoint.period_ms} is less than min_interval_ms, {checkpoint.min_interval_ms}; "
                "raise it, or 0 turns the idle checkpoint off",
            )


def given_same(one: Unix | Tcp | None, other: Unix | Tcp | None) -> bool:
    """Both are given, and equal."""
    return one is not None and one == other


def _explain(problem: ErrorDetails, known: tuple[str, ...]) -> str:
    """One of pydantic's problems in our words."""
    value = _shown(problem["input"])
    context = problem.get("ctx", {})
    match problem["type"]:
        case "extra_forbidden":
            text = f"unknown key{_meant(str(problem['loc'][-1]), known)}"
        case "missing":
            text = "missing; add it"
        case "int_type":
            text = f"must be a whole number, not {value}"
        case "greater_than_equal":
            text = f"must be at least {context['ge']}, not {value}"
        case "less_than_equal":
            text = f"must be at most {context['le']}, not {value}"
        case "literal_error":
            text = f"must be one of {context['expected']}, not {value}"
        case "value_error":
            text = str(context["error"])
        case _:
            text = f"{problem['msg']}, not {value}"
    return text


def _meant(word: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(known)}"


def _shown(value: object) -> str:
    """A value as it might stand in the file, cut to what fits a line."""
    kinds = {dict: "a table", list: "an array", bool: "true" if value else "false"}
    if type(value) in kinds:
        return kinds[type(value)]
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
