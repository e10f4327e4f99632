"""`colo-proxy run`: the proxy."""

import argparse


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "run",
        help="run the proxy",
        description="Run the proxy in the foreground until SIGTERM, Ctrl-C or 'quit' on its control socket. "
        "SIGHUP has it read its configuration again.",
        epilog="example: colo-proxy run /etc/colo-proxy/web1.toml",
    )
    parser.add_argument("config", metavar="CONFIG.toml")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run until told to stop."""
    from colo_proxy import config, daemon, logs  # noqa: PLC0415

    settings = config.load(arguments.config)
    logs.set_up(level=settings.log.level, form=settings.log.format)
    daemon.run(settings)
    return 0
