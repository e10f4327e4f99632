"""A lab that stays up for a person: `up`, `env`, `exec`, `down`. There is at most one for each checkout.

A supervisor process in the background owns everything; a file in its run directory says where its
namespaces are. When the supervisor ends, however it ends, the lab ends.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from . import forward, kernel, markers
from .errors import LabError
from .lab import Lab
from .protected import protected
from .topology import Uplink
from .waiting import Deadline, wait_exit, wait_readable

_STATE = "lab.json"
_METRICS = 9308
_SELF = "netns-lab/colo-lab"  # from the repository, as make does it


def up(*, nics: int = 1, plain: bool = False) -> str:
    """Start a lab in the background; returns what to tell the person.

    Raises LabError, also where this checkout has one up: which of two would `exec` and `down` mean?
    """
    if labs := _up():
        use = f"use it ({_SELF} exec NAMESPACE COMMAND…), or end it (make lab-down)"
        raise LabError(f"a lab of this checkout is up already, in {labs[-1][0]}: {use}")
    read_end, write_end = os.pipe()
    words = ["serve", "--ready", str(write_end), "--nics", str(nics), *(["--plain"] if plain else [])]
    with tempfile.TemporaryFile() as said:  # not ours: who pipes us on would wait for the lab's end
        subprocess.Popen(
            [sys.executable, "-m", "colo_lab", *words],
            pass_fds=[write_end],
            env={**os.environ, "PYTHONPATH": str(markers.PACKAGE_ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        os.close(write_end)
        wait_readable(read_end, Deadline(30), "the lab")
        with os.fdopen(read_end) as answer:
            text = answer.read()
        if not text:
            said.seek(0)
            sys.stderr.write(said.read().decode(errors="replace"))
            raise LabError("the lab did not come up; its messages are above")
    return text


def serve(ready: int, *, nics: int, plain: bool) -> None:
    """The supervisor: until SIGTERM or SIGINT."""
    listener = forward.listen(_METRICS)  # where the person is; become_root may lead elsewhere
    note = kernel.become_root()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    with ExitStack() as stack:
        lines = [note] if note else []
        metrics = ""
        if plain:
            lab = stack.enter_context(Lab(uplink=Uplink.BRIDGE, nics=nics))
        else:
            sections: dict[str, Any] = {"proxy": {"metrics": f"{forward.LOOPBACK}:{_METRICS}"}}
            made = stack.enter_context(protected(nics=nics, reports=True, **sections))
            lab = made.lab
            stack.enter_context(forward.forwarding(listener, lab.topology.host, _METRICS))
            port = listener.getsockname()[1]
            metrics = f"http://{forward.LOOPBACK}:{port}/metrics"
            lines += [
                f"configuration   {made.proxy.config}",
                f"its log         {made.proxy.log}",
                f"its metrics     {metrics}" + (f"   (port {_METRICS} is taken)" if port != _METRICS else ""),
            ]
        spaces = {space.name: space.fd for space in lab.topology.namespaces}
        (lab.run.directory / _STATE).write_text(json.dumps({"namespaces": spaces, "metrics": metrics}))
        lines += [
            "namespaces      " + ", ".join(spaces),
            f'each terminal   eval "$({_SELF} env)" sets LAB, METRICS and PATH',
            "a command       colo-lab exec NAMESPACE COMMAND…",
            "a download      colo-lab exec client curl -o /dev/null "
            + lab.topology.nics[0].url("/bytes/1000000000"),
            "to end it       make lab-down",
        ]
        with os.fdopen(ready, "w") as answer:
            answer.write("\n".join(lines) + "\n")
        signal.sigwait({signal.SIGTERM, signal.SIGINT})


def environment() -> str:
    """Shell commands for a terminal: LAB is the lab's directory, METRICS a URL, PATH finds the programs."""
    directory, _ = _latest()
    path = ":".join((str(markers.PACKAGE_ROOT), str(Path(sys.executable).parent)))
    metrics = json.loads((directory / _STATE).read_text())["metrics"]
    words = {"LAB": shlex.quote(str(directory)), "METRICS": metrics, "PATH": f"{shlex.quote(path)}:$PATH"}
    return "export " + " ".join(f"{name}={value}" for name, value in words.items())


def down() -> list[str]:
    """End this user's lab of this checkout, and sweep what crashed ones left; a line for each."""
    lines = []
    for directory, owner in _up():
        os.kill(owner.pid, signal.SIGTERM)
        if not wait_exit(owner.pid, Deadline(15)):
            os.kill(owner.pid, signal.SIGKILL)
            wait_exit(owner.pid, Deadline(5))
        lines.append(f"{directory}: down")
    return lines + markers.sweep()


def execute(name: str, argv: list[str]) -> None:
    """Become a program inside a namespace of the lab that is up. Returns only by raising LabError."""
    directory, owner = _latest()
    spaces = json.loads((directory / _STATE).read_text())["namespaces"]
    if name not in spaces:
        raise LabError(f"no namespace {name}: there are {', '.join(spaces)}")
    kernel.join(owner.pid, spaces[name])
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        raise LabError(f"{argv[0]}: {error.strerror}") from None


def _latest() -> tuple[Path, markers.Owner]:
    labs = _up()
    if not labs:
        raise LabError("no lab of this checkout is up: make lab-up starts one")
    return labs[-1]


def _up() -> list[tuple[Path, markers.Owner]]:
    mine = markers.runs(markers.CHECKOUT)
    return [(path, owner) for path, owner in mine if owner.alive and (path / _STATE).exists()]
