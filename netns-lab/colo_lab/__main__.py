"""`netns-lab/colo-lab`: the lab's commands, which `make demo`, `make lab-up` and `make lab-down` call."""

import argparse
import signal
import sys

from . import markers, session
from .errors import LabError


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="colo-lab", description="A laboratory for colo-proxy.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("demo", help="show everything within a minute, and leave nothing behind")
    up = commands.add_parser("up", help="start a lab that stays")
    serve = commands.add_parser("serve")  # what `up` starts in the background
    for command in (up, serve):
        command.add_argument("--nics", type=int, default=1, help="NICs of each VM (1 to 3)")
        command.add_argument("--plain", action="store_true", help="no proxy: the PVM on the bridge itself")
    serve.add_argument("--ready", type=int, required=True, help=argparse.SUPPRESS)
    commands.add_parser("env", help='LAB, METRICS and PATH for a terminal: eval "$(netns-lab/colo-lab env)"')
    commands.add_parser("down", help="end this checkout's lab, and sweep what crashed runs left")
    commands.add_parser("sweep", help="only sweep what crashed runs left")
    execute = commands.add_parser("exec", help="run a command in a namespace of the lab that is up")
    execute.add_argument("namespace", help="client, host, pvm or svm")
    execute.add_argument("argv", nargs=argparse.REMAINDER, metavar="COMMAND…")
    arguments = parser.parse_args(argv)
    try:
        return _run(arguments)
    except LabError as error:
        print(f"colo_lab: {error}", file=sys.stderr)
    except OSError as error:
        print(f"colo_lab: the kernel refused: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("colo_lab: interrupted; everything is cleared away", file=sys.stderr)
        return 128 + signal.SIGINT
    return 1


def _run(arguments: argparse.Namespace) -> int:
    match arguments.command:
        case "demo":
            from .demo import demo  # noqa: PLC0415 - rich is slow to import

            return demo()
        case "up":
            print(session.up(nics=arguments.nics, plain=arguments.plain), end="")
        case "serve":
            session.serve(arguments.ready, nics=arguments.nics, plain=arguments.plain)
        case "env":
            print(session.environment())
        case "down":
            print("\n".join(session.down()) or "no lab of this checkout is up")
        case "sweep":
            print("\n".join(markers.sweep()) or "nothing to sweep")
        case "exec":
            session.execute(arguments.namespace, [word for word in arguments.argv if word != "--"] or ["sh"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
