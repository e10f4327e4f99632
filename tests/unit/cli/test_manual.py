"""What is made from the parsers: manual page, completion scripts; and the examples of each command."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from colo_proxy.cli.main import EXIT_STATUSES, main, parser
from colo_proxy.cli.parsers import CommandParser, walk
from colo_proxy.errors import ControlError, UserError
from docs import manpage


def tool(name: str) -> str:
    found = shutil.which(name)
    if not found:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} is missing")
        pytest.skip(f"{name} is missing")
    return found


def test_the_manual_page_says_what_the_program_says() -> None:
    assert manpage.PAGE.read_text() == manpage.man_page(), "run: make reference"


def test_the_manual_page_is_right() -> None:
    done = subprocess.run(
        [tool("man"), "--warnings", "-l", str(manpage.PAGE)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        env={**os.environ, "MANWIDTH": "200", "LC_ALL": "C.UTF-8"},
    )
    assert done.stderr == ""
    assert "colo-proxy policy add [--first] [--socket PATH] [--json] RULE [CONFIG.toml]" in done.stdout
    assert """'{match = {protocol = "udp", port = 123}, action = "bypass"}'""" in done.stdout


@pytest.mark.parametrize(("name", "command"), list(walk(parser())))
def test_help_teaches(name: str, command: CommandParser) -> None:
    assert command.description
    assert command.examples


EXAMPLES = [line for _, command in walk(parser()) for line, _ in command.examples]


@pytest.mark.parametrize("line", [line for line in EXAMPLES if "COMMAND" not in line])
def test_every_example_is_a_command_line(line: str) -> None:
    ours = re.split(r" \| | && | > ", line)
    ours = [part[part.index("colo-proxy ") :] for part in ours if "colo-proxy " in part]
    assert ours or line.startswith("systemctl"), line
    for part in ours:
        parser().parse_args(shlex.split(part)[1:])


def script(shell: str) -> str:
    command = [sys.executable, "-m", "colo_proxy.cli.main", "completion", shell]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout


def run(*command: str) -> str:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_exit_status_is_documented() -> None:
    """Those that the code gives: of errors, and of `status`."""
    errors: set[type[UserError]] = {UserError, *UserError.__subclasses__(), *ControlError.__subclasses__()}
    given = {kind.exit_status for kind in errors} | {0, 1, 3, 4, os.EX_CONFIG, 130, 128 + signal.SIGPIPE}
    assert [status for status, _ in EXIT_STATUSES] == sorted(given)


def complete(shell: str, words: str) -> set[str]:
    """What a shell offers for the last of these words."""
    if shell == "bash":
        ask = (
            f"COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMP_LINE='{words}'; "
            "COMP_POINT=${#COMP_LINE}; spec=$(complete -p colo-proxy); fn=${spec##*-F }; ${fn%% *}; "
            'printf "%s\\n" "${COMPREPLY[@]}"'
        )
    else:
        ask = f'complete --do-complete "{words}"'
    return {
        line.split("\t")[0].strip() for line in run(tool(shell), "-c", f"{script(shell)}\n{ask}").splitlines()
    }


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_a_shell_completes(shell: str) -> None:
    assert complete(shell, "colo-proxy st") == {"status"}
    assert {"--interval", "--socket"} <= complete(shell, "colo-proxy top --")
    assert complete(shell, "colo-proxy policy re") == {"remove"}


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_descriptions_are_short(shell: str) -> None:
    """They stand beside the words that a shell offers, in one line of a terminal."""
    pattern = {"zsh": r"\[((?:[^]\\\n]|\\.)+)\]", "fish": r" -d '((?:[^']|'\"'\"')+)'"}[shell]
    shown = [text.replace("'\"'\"'", "'").replace("\\", "") for text in re.findall(pattern, script(shell))]
    assert "the proxy's control socket" in shown
    assert [text for text in shown if len(text) > 80] == []


def test_zsh_takes_its_script(tmp_path: Path) -> None:
    """Its completion works in a terminal alone; that it loads, and registers itself, is seen here."""
    (tmp_path / "_colo-proxy").write_text(script("zsh"))
    ask = f"fpath=({tmp_path} $fpath); autoload -Uz compinit; compinit -u -D; print -r -- $_comps[colo-proxy]"
    assert run(tool("zsh"), "-fc", ask) == "_colo-proxy\n"
    run(tool("zsh"), "-n", str(tmp_path / "_colo-proxy"))


def test_an_unknown_shell(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["completion", "csh"])
    assert ended.value.code == 2
    assert "invalid choice: 'csh'" in capsys.readouterr().err
