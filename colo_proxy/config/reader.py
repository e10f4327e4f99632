"""Reads a configuration file: TOML in, a checked `Config` out, every problem named with its line.

Each section is checked by itself, so that one report shows all that is wrong.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from colo_proxy import endpoints
from colo_proxy.config import toml_lines as tomllines
from colo_proxy.config.policies import PolicyError, policy_rule
from colo_proxy.config.problems import explain, meant, printable, shown
from colo_proxy.config.sections import (
    AUTO,
    Arbiter,
    Checkpoint,
    Compare,
    Config,
    Log,
    Nic,
    Pair,
    PairNic,
    Proxy,
    Section,
    TwoHosts,
)
from colo_proxy.config.two_hosts import arbiter_faults, pair_faults, vmm_faults
from colo_proxy.core.policy import PolicyRule
from colo_proxy.endpoints import Endpoint, Packet, Split, Tap, Tcp, Unix
from colo_proxy.errors import ConfigError

# The socket endpoints that each VMM adapter needs; it takes no others.
_VMM_ENDPOINTS: Mapping[str, tuple[str, ...]] = {
    "qmp": ("primary", "secondary"),
    "xen": ("notify_dev",),
    "control": (),
    "none": (),
}
SECTIONS = ("proxy", "nic", "compare", "checkpoint", "log", "policy", "pair", "arbiter")


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
        what = printable(what)
        raise ConfigError([f"{path}:{line}: not valid TOML: {what}{column}; correct the line"]) from None
    except ValueError:  # of int(): sys.set_int_max_str_digits
        raise ConfigError([f"{path}:1: a number has thousands of digits; no setting needs that"]) from None
    except RecursionError:
        raise ConfigError(
            [f"{path}:1: arrays or tables are nested too deeply; no setting needs that"]
        ) from None
    return _Reader(text, path, document).read()


_Model = TypeVar("_Model", bound=Section)


class _Reader:
    """Reads one document and collects its problems, each with the line it stands on."""

    def __init__(self, text: str, path: Path, document: dict[str, Any]) -> None:
        self.path = path
        self.document = document
        self.lines = tomllines.key_lines(text)
        self.problems: list[tuple[int, str]] = []

    def read(self) -> Config:
        for key in self.document:
            if key not in SECTIONS:
                self.add((key,), f"unknown section{meant(key, SECTIONS)}")
        proxy = self.section("proxy", Proxy, self.proxy_defaults())
        nics = list(self.nics())
        pair, arbiter = self.pair()
        compare = self.section("compare", Compare)
        checkpoint = self.section("checkpoint", Checkpoint)
        log = self.section("log", Log)
        policies = list(self.policies())
        if compare:
            compare = self.check_compare(compare)
        if checkpoint:
            self.check_checkpoint(checkpoint)
        if self.problems:
            raise ConfigError([text for _, text in sorted(self.problems, key=lambda problem: problem[0])])
        assert proxy  # noqa: S101 - a section is None only where it has a problem
        assert compare  # noqa: S101
        assert checkpoint  # noqa: S101
        assert log  # noqa: S101
        alone = tuple(nic for nic in nics if isinstance(nic, Nic))
        paired = tuple(nic for nic in nics if isinstance(nic, PairNic))
        two_hosts = TwoHosts(pair, arbiter, paired) if pair and arbiter else None
        return Config(self.path, proxy, alone, compare, checkpoint, log, tuple(policies), two_hosts)

    def add(self, where: tomllines.Path, what: str) -> None:
        """Note a problem at a key: `FILE:LINE: [section] key: what is wrong; what to do`."""
        line = tomllines.line_of(self.lines, where)
        first = printable(str(where[0]))
        section = f"[[{first}]]" if first in ("nic", "policy") else f"[{first}]"
        key = printable(".".join(str(part) for part in where[1:] if not isinstance(part, int)))
        self.problems.append((line, f"{self.path}:{line}: {section}{' ' + key if key else ''}: {what}"))

    def proxy_defaults(self) -> dict[str, str]:
        """The name and socket that the file's own name gives."""
        given = self.document.get("proxy")
        name = given.get("name") if isinstance(given, dict) else None
        if not isinstance(name, str):
            name = self.path.stem
        return {"name": name, "control": f"/run/colo-proxy/{name}.sock"}

    @property
    def two(self) -> bool:
        """Whether it is a configuration of two hosts."""
        return "pair" in self.document

    def pair(self) -> tuple[Pair | None, Arbiter | None]:
        """`[pair]` and `[arbiter]`: both, or neither."""
        if not self.two:
            if "arbiter" in self.document:
                self.add(("arbiter",), "has no meaning without [pair]; remove it, or add [pair]")
            return None, None
        name = self.proxy_defaults()["name"]
        pair = self.section("pair", Pair, {"state_dir": f"/var/lib/colo-proxy/{name}"})
        for where, what in pair_faults(pair) if pair else ():
            self.add(where, what)
        if "arbiter" not in self.document:
            self.add(("pair",), "two hosts need a store that says which may speak; add an [arbiter]")
            return pair, None
        arbiter = self.section("arbiter", Arbiter)
        for where, what in arbiter_faults(arbiter) if arbiter else ():
            self.add(where, what)
        return pair, arbiter

    def section(
        self, name: str, model: type[_Model], defaults: Mapping[str, object] | None = None
    ) -> _Model | None:
        return self.validate((name,), self.document.get(name, {}), model, defaults or {})

    def validate(
        self, where: tomllines.Path, table: object, model: type[_Model], defaults: Mapping[str, object]
    ) -> _Model | None:
        if not isinstance(table, dict):
            self.add(where, f"must be a table, not {shown(table)}; write [{where[0]}] above its keys")
            return None
        try:
            return model.model_validate({**defaults, **table})
        except ValidationError as error:
            for problem in error.errors(include_url=False):
                self.add((*where, *problem["loc"][:1]), explain(problem, tuple(model.model_fields)))
            return None

    def tables(self, name: str) -> Iterator[tuple[int, object]]:
        tables = self.document.get(name, [])
        if not isinstance(tables, list):
            self.add((name,), f"must be an array of tables; write [[{name}]] above the keys of each")
            return
        yield from enumerate(tables)

    def nics(self) -> Iterator[Nic | PairNic]:
        nics: list[tuple[int, Nic | PairNic]] = []
        used: dict[object, str] = {}
        for index, table in self.tables("nic"):
            nic = self.nic(index, table)
            if nic is None:
                continue
            nics.append((index, nic))
            self.check_headers(index, nic)
            for port, endpoint in nic.ports.items():
                for part in endpoints.parts(endpoint):
                    self.check_used(used, part, index, port)
        for index, nic in nics:
            for port, endpoint in nic.ports.items():
                if isinstance(endpoint, Tap) and endpoint.bridge in used:
                    self.add(
                        ("nic", index, port),
                        f"the bridge {endpoint.bridge!r} is the {used[endpoint.bridge]}; use another bridge",
                    )
            if isinstance(nic, PairNic) and nic.carrier in used:
                what = f"{nic.carrier!r} is the {used[nic.carrier]}; name the interface towards the clients"
                if used[nic.carrier] != f"uplink of nic {index}":
                    self.add(("nic", index, "carrier"), what)
            yield nic
        if not self.document.get("nic"):
            ports = "uplink and vm" if self.two else "uplink, primary and secondary"
            self.add(("nic",), f"no network interface; add a [[nic]] with {ports}")

    def nic(self, index: int, table: object) -> Nic | PairNic | None:
        """One `[[nic]]`. A port of the other kind of configuration is named as such."""
        if isinstance(table, dict):
            other = ("primary", "secondary") if self.two else ("vm", "carrier")
            remedy = "with [pair]; write vm, this host's VM" if self.two else "without [pair]; remove it"
            for key in other:
                if key in table:
                    self.add(("nic", index, key), f"has no meaning {remedy}")
            table = {key: value for key, value in table.items() if key not in other}
        where = ("nic", index)
        return self.validate(where, table, PairNic, {}) if self.two else self.validate(where, table, Nic, {})

    def check_used(self, used: dict[object, str], endpoint: Endpoint, index: int, port: str) -> None:
        what = f"{port} of nic {index}"
        identity = endpoint.name if isinstance(endpoint, Tap | Packet) else endpoint
        if identity in used:
            kind = "an interface" if isinstance(endpoint, Tap | Packet) else "a socket"
            text = f"{str(endpoint)!r} is the {used[identity]} already; give each port {kind} of its own"
            self.add(("nic", index, port), text)
        used.setdefault(identity, what)

    def check_headers(self, index: int, nic: Nic | PairNic) -> None:
        endpoints = tuple(nic.ports.values())
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
            except PolicyError as error:
                for key, what in error.faults:
                    # Whatever stands before the first dot is ours; the rest may be anything.
                    self.add(("policy", index, *key.split(".", 1)) if key else ("policy", index), what)

    def check_compare(self, compare: Compare) -> Compare:
        """Check keys against each other; only `max_held_bytes` given, it lowers `max_flow_bytes`, too."""
        if compare.timeout_ms != AUTO and compare.reorder_ms >= compare.timeout_ms:
            self.add(
                ("compare", "reorder_ms"),
                f"{compare.reorder_ms} is not less than timeout_ms, {compare.timeout_ms}; lower it",
            )
        if compare.max_flow_bytes <= compare.max_held_bytes:
            return compare
        if "max_flow_bytes" in compare.model_fields_set:
            self.add(
                ("compare", "max_flow_bytes"),
                f"{compare.max_flow_bytes} is more than max_held_bytes, {compare.max_held_bytes}; "
                "lower it or raise the other",
            )
        return compare.model_copy(update={"max_flow_bytes": compare.max_held_bytes})

    def check_checkpoint(self, checkpoint: Checkpoint) -> None:
        if self.two:
            for where, what in vmm_faults(checkpoint):
                self.add(where, what)
        else:
            self.check_vmm(checkpoint)
        if 0 < checkpoint.period_ms < checkpoint.min_interval_ms:
            self.add(
                ("checkpoint", "period_ms"),
                f"{checkpoint.period_ms} is less than min_interval_ms, {checkpoint.min_interval_ms}; "
                "raise it, or 0 turns the idle checkpoint off",
            )

    def check_vmm(self, checkpoint: Checkpoint) -> None:
        if checkpoint.vm is not None:
            self.add(("checkpoint", "vm"), "has no meaning without [pair]; write primary and secondary")
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


def given_same(one: Unix | Tcp | None, other: Unix | Tcp | None) -> bool:
    """Both are given, and equal."""
    return one is not None and one == other
