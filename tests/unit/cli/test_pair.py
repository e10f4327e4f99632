"""Commands with a configuration of two hosts."""

import os
import subprocess
import sys
from pathlib import Path


def cli(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "colo_proxy", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def two_hosts(folder: Path) -> Path:
    """A configuration of the host `a`, with all its directories in `folder`."""
    path = folder / "web1.toml"
    path.write_text(
        '[pair]\nhost = "a"\npeer_host = "b"\nlisten = "127.0.0.1:9310"\npeer = "127.0.0.2:9310"\n'
        f'insecure = true\nstate_dir = "{folder}/state"\n'
        f'[arbiter]\nkind = "directory"\npath = "{folder}/shared"\n'
        '[[nic]]\nuplink = "packet:up0"\nvm = "packet:vm0"\n'
    )
    return path


def test_run_refuses_two_hosts(tmp_path: Path) -> None:
    path = two_hosts(tmp_path)
    done = cli("run", str(path))
    assert done.returncode == os.EX_CONFIG
    assert done.stderr == (
        f"colo-proxy: {path}: [pair]: two hosts are not available in this version: the proxy does not run "
        "with [pair]; give it a configuration of one host\n"
    )
