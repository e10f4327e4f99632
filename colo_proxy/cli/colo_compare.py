"""`colo-proxy colo-compare`: QEMU's object of that name, out of process."""

import argparse

from colo_proxy.cli.parsers import HOUR_MS, CommandParser, whole_number

_LARGEST = 1_000_000  # frames; memory for them is taken only as they come


def add_parser(subparsers: "argparse._SubParsersAction[CommandParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "colo-compare",
        help="replace QEMU's colo-compare object",
        description="QEMU's colo-compare as a separate program: the same properties with the same meaning. "
        "It listens on its endpoints (unix:PATH or tcp:HOST:PORT) for QEMU's filter-redirectors, one peer "
        "each, and for the next one when a peer disconnects. QEMU's filters still mirror and rewrite.",
        examples=(
            (
                "colo-proxy colo-compare --primary-in unix:/run/vm/pri --secondary-in tcp:192.0.2.1:9004 "
                "--outdev unix:/run/vm/out --notify-dev tcp:127.0.0.1:9005 --vnet-hdr",
                "Xen's libxl makes the checkpoints",
            ),
        ),
    )
    _add_endpoints(parser)
    _add_bounds(parser)
    parser.set_defaults(run=run)


def _add_endpoints(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--primary-in", metavar="EP", type=_endpoint, required=True, help="receives the PVM's output"
    )
    parser.add_argument(
        "--secondary-in",
        metavar="EP",
        type=_endpoint,
        required=True,
        help="receives the SVM's output, as filter-rewriter has converted it",
    )
    parser.add_argument(
        "--outdev", metavar="EP", type=_endpoint, required=True, help="sends what is released"
    )
    parser.add_argument(
        "--notify-dev",
        metavar="EP",
        type=_endpoint,
        help="Xen's libxl connects here, receives requests for checkpoints and reports them; without it what "
        "differs stays held",
    )
    parser.add_argument(
        "--vnet-hdr",
        action="store_true",
        help="the streams carry virtio-net headers (vnet_hdr_support); --notify-dev never does",
    )


def _add_bounds(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--compare-timeout",
        metavar="MS",
        type=whole_number("milliseconds", HOUR_MS),
        default=3000,
        help="output that is missing for this long is a divergence (default: 3000)",
    )
    parser.add_argument(
        "--expired-scan-cycle",
        metavar="MS",
        type=whole_number("milliseconds", HOUR_MS),
        default=1000,
        help="the interval at which a request for a checkpoint is repeated (default: 1000); timeouts are "
        "noticed when they expire",
    )
    parser.add_argument(
        "--max-queue-size",
        metavar="N",
        type=whole_number("frames", _LARGEST),
        default=1024,
        help="how many frames of the largest size may be held (default: 1024)",
    )


def _endpoint(text: str) -> object:
    from colo_proxy.endpoints import Tcp, Unix, parse  # noqa: PLC0415

    try:
        endpoint = parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not isinstance(endpoint, Unix | Tcp):
        raise argparse.ArgumentTypeError(f"{text!r} is not a socket; write unix:PATH or tcp:HOST:PORT")
    return endpoint


def run(arguments: argparse.Namespace) -> int:
    """Run until told to stop."""
    from colo_proxy.daemon import drop_in as colo_compare  # noqa: PLC0415
    from colo_proxy.errors import UserError  # noqa: PLC0415
    from colo_proxy.telemetry import logs  # noqa: PLC0415

    given: dict[object, str] = {}
    for end in ("primary-in", "secondary-in", "outdev", "notify-dev"):
        endpoint = getattr(arguments, end.replace("-", "_"))
        if endpoint is not None and given.setdefault(endpoint, end) != end:
            raise UserError(f"--{end} {endpoint}: is the --{given[endpoint]} already; give each its own")
    logs.set_up(level="info", form="text")
    colo_compare.run(
        colo_compare.Options(
            primary_in=arguments.primary_in,
            secondary_in=arguments.secondary_in,
            outdev=arguments.outdev,
            notify_dev=arguments.notify_dev,
            vnet_hdr=arguments.vnet_hdr,
            compare_timeout=arguments.compare_timeout,
            expired_scan_cycle=arguments.expired_scan_cycle,
            max_queue_size=arguments.max_queue_size,
        )
    )
    return 0
