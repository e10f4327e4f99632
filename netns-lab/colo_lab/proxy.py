"""The program under test: `colo-proxy run` in the host's namespace of a lab, with a configuration for it."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .control import Control
from .errors import LabError, Missing
from .lab import Lab
from .namespaces import end
from .topology import Uplink
from .waiting import Deadline

COMMAND = [str(Path(sys.executable).with_name("colo-proxy"))]


def configuration(lab: Lab, sections: Mapping[str, Mapping[str, Any]]) -> str:
    """TOML for the NICs of this lab. `sections` adds keys to its tables or overrides them (`nic`: all)."""
    directory = lab.run.directory
    tables: dict[str, dict[str, Any]] = {
        "proxy": {"name": "lab", "control": str(directory / "control.sock"), "metrics": ""},
        "checkpoint": {"vmm": "control", "period_ms": 0},
    }
    ports = sections.get("nic", {})
    for name, values in sections.items():
        if name == "nic":
            continue
        tables.setdefault(name, {}).update(values)
    text = "".join(_table(f"[{name}]", values) for name, values in tables.items())
    for nic in lab.topology.nics:
        tap = lab.topology.uplink is Uplink.TAP
        uplink = f"tap:{nic.uplink},bridge={nic.bridge}" if tap else f"packet:{nic.uplink}"
        ends = {"uplink": uplink, "primary": f"packet:{nic.primary}", "secondary": f"packet:{nic.secondary}"}
        text += _table("[[nic]]", {**ends, **ports})
    return text


def _table(header: str, values: Mapping[str, Any]) -> str:
    lines = [f"{key} = {_toml(value)}" for key, value in values.items()]
    return "\n".join([header, *lines, "", ""])


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


class Proxy:
    """A running proxy. The context starts it, waits until its control socket answers, and ends it."""

    def __init__(
        self,
        lab: Lab,
        *,
        extra: str = "",
        command: Sequence[str] = (),
        reports: bool = False,
        **sections: Mapping[str, Any],
    ) -> None:
        self._lab = lab
        self._command = list(command or COMMAND)
        if not Path(self._command[0]).exists():
            raise Missing(f"{self._command[0]}: not there; install the project into this environment first")
        self.config = lab.run.directory / "proxy.toml"
        self.control = lab.run.directory / "control.sock"
        self.log = lab.run.directory / "proxy.log"
        if reports:
            directory = lab.run.directory / "reports"
            directory.mkdir()
            sections = {**sections, "proxy": {**sections.get("proxy", {}), "reports": str(directory)}}
        self.config.write_text(configuration(lab, sections) + extra)
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process:
            end(self.process)

    def start(self) -> None:
        """Start it; returns when the control socket answers. Raises LabError with its log where it ends."""
        with self.log.open("ab") as log:
            self.process = self._lab.topology.host.popen(
                [*self._command, "run", str(self.config)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            Control(self.control, Deadline(30), owner=self.process).close()
        except LabError as error:
            end(self.process)
            raise LabError(f"{error}\n{self.log.read_text()}") from None

    def connect(self, seconds: float = 5.0) -> Control:
        """A new connection to the control socket."""
        return Control(self.control, Deadline(seconds))

    def kill(self) -> None:
        """kill -9"""
        assert self.process
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ask it to end; returns its exit status."""
        assert self.process
        end(self.process, 5.0)
        return self.process.returncode

    def status(self) -> dict[str, Any]:
        with self.connect() as control:
            return dict(control.execute("query-status"))

    def flows(self) -> list[dict[str, Any]]:
        with self.connect() as control:
            answer = control.execute("query-flows")
        return list(answer["flows"] if isinstance(answer, dict) else answer)
