"""`colo-proxy run`: the proxy."""

import argparse
import os

from colo_proxy.cli.parsers import CommandParser
from colo_proxy.errors import ConfigError


def add_parser(subparsers: "argparse._SubParsersAction[CommandParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "run",
        help="run the proxy",
        description="Run the proxy in the foreground until SIGTERM, Ctrl-C or 'quit' on its control socket. "
        "On SIGHUP it reads its configuration again. Exit status: 0 stopped on request; 78 the configuration "
        "is wrong, so a restart does not help; 2 the host cannot run it, or a part of the proxy has failed.",
        examples=(
            ("colo-proxy run web1.toml", "in the foreground"),
            ("systemctl enable --now colo-proxy@web1", "as a service: runs /etc/colo-proxy/web1.toml"),
        ),
    )
    parser.add_argument("config", metavar="CONFIG.toml", help="the configuration (docs/configuration.md)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run until told to stop."""
    from colo_proxy import config  # noqa: PLC0415
    from colo_proxy.daemon import run as daemon  # noqa: PLC0415
    from colo_proxy.telemetry import logs  # noqa: PLC0415

    try:
        settings = config.load(arguments.config)
        settings.require_one_host()
    except ConfigError as error:
        error.exit_status = os.EX_CONFIG
        raise
    logs.set_up(level=settings.log.level, form=settings.log.format)
    daemon.run(settings)
    return 0
