"""`colo-proxy completion`: a script that has a shell complete commands, options and files."""

import argparse

from colo_proxy.cli.parsers import CommandParser, walk

SHELLS = ("bash", "zsh", "fish")
_FILES = ("config", "report", "file", "primary", "secondary", "released", "socket")


def add_parser(subparsers: "argparse._SubParsersAction[CommandParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "completion",
        help="print a completion script for a shell",
        description="Print a script with which a shell completes the commands, options and file names.",
        examples=(
            ("colo-proxy completion bash > /etc/bash_completion.d/colo-proxy", "for bash"),
            ("colo-proxy completion zsh > /usr/local/share/zsh/site-functions/_colo-proxy", "for zsh"),
            ("colo-proxy completion fish > ~/.config/fish/completions/colo-proxy.fish", "for fish"),
        ),
    )
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help="bash, zsh or fish")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the script."""
    import shtab  # noqa: PLC0415

    from colo_proxy.cli.main import parser  # noqa: PLC0415

    top = parser()
    for _, command in walk(top):
        for action in command._actions:
            if action.dest in _FILES:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
            action.help = _short(action.help) if action.help else action.help
            if isinstance(action, argparse._SubParsersAction):
                # shtab shows a command's description, which is paragraphs; its help is a line.
                for shown in action._choices_actions:
                    action.choices[shown.dest].description = shown.help
    print(shtab.complete(top, shell=arguments.shell))
    return 0


def _short(text: str) -> str:
    """Of what `--help` says, what fits beside a word that a shell offers: up to the default or a remark."""
    return text.partition(" (")[0].partition(";")[0]
