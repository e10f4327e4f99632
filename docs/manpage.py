"""The manual page, docs/colo-proxy.1, from the same parsers as docs/commands.md: man(7) macros for man(1)."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from colo_proxy.cli.main import EXIT_STATUSES, parser
from docs.reference import all_commands, table, usage

PAGE = Path(__file__).with_name("colo-proxy.1")
_FILES = (
    ("/etc/colo-proxy/NAME.toml", "the configuration of one proxy"),
    ("/run/colo-proxy/NAME.sock", "its control socket"),
    ("/var/lib/colo-proxy/NAME/", "its reports of divergences, where they are wanted"),
)


def man_page() -> str:
    """The page."""
    lines = [
        '.\\" Made by make reference from the parsers.',
        ".TH COLO\\-PROXY 1",
        ".SH NAME",
        "colo\\-proxy \\- the network half of COLO fault tolerance, beside an unmodified VMM",
        ".SH SYNOPSIS",
    ]
    for _, command in all_commands():
        lines += [f".B {_roff(usage(command))}", ".br"]
    lines += [".SH DESCRIPTION", _roff(parser().description or ""), ".SH COMMANDS"]
    lines[-1:-1] = [".SH EXIT STATUS", *_terms((str(status), text) for status, text in EXIT_STATUSES)]
    for path, command in all_commands():
        lines += [f".SS {_roff(path)}", _roff(command.description or "")]
        lines += _terms(table(command))
        lines += [".PP", "Examples:", *_terms(command.examples)]
    lines += [".SH FILES", *_terms(_FILES), ".SH SEE ALSO", "systemd.service(5), bridge(8), qemu(1)"]
    return "\n".join(lines) + "\n"


def _terms(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Words, each with what it means."""
    for word, meaning in pairs:
        yield from (".TP", f".B {_roff(word)}", _roff(meaning))


def _roff(text: str) -> str:
    """Text without what roff would obey: backslashes, a leading dot; hyphens that are minus signs, quotes."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace('"', "\\(dq")
    return "\\&" + text if text.startswith(".") else text


def main() -> None:
    """Write it."""
    PAGE.write_text(man_page())


if __name__ == "__main__":
    main()
