"""`colo-proxy run`: the proxy."""

import argparse

from colo_proxy.cli.parsers import CommandParser


def add_parser(subparsers: "argparse._SubParsersAction[CommandParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "run",
        help="run the proxy",
        description="Run the proxy in the foreground until SIGTERM, Ctrl-C or 'quit' on its control socket. "
        "SIGHUP has it read its configuration again.",
        examples=(
            ("colo-proxy run web1.toml", "in the foreground"),
            ("systemctl enable --now colo-proxy@web1", "as a service: runs /etc/colo-proxy/web1.toml"),
        ),
    )
    parser.add_argument("config", metavar="CONFIG.toml", help="the configuration (docs/configuration.md)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run until told to stop."""
    from colo_proxy import config, daemon, logs  # noqa: PLC0415

    settings = config.load(arguments.config)
    logs.set_up(level=settings.log.level, form=settings.log.format)
    daemon.run(settings)
    return 0
