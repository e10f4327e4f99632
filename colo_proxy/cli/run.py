"""`colo-proxy run`: the proxy."""

import argparse


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "run",
        help="run the proxy",
        description="Run the proxy in the foreground until SIGTERM, Ctrl-C or 'quit' on its control socket.",
        epilog="example: colo-proxy run /etc/colo-proxy/web1.toml",
    )
    parser.add_argument("config", metavar="CONFIG.toml")
    parser.add_argument("--log-json", action="store_true", help="log a JSON object a line")
    parser.add_argument("--verbose", action="store_true", help="log more")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run until told to stop."""
    from colo_proxy import config, daemon, logs  # noqa: PLC0415

    logs.set_up(as_json=arguments.log_json, verbose=arguments.verbose)
    daemon.run(config.load(arguments.config))
    return 0
