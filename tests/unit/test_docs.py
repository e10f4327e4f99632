"""The pages of docs/ say what the program does: nothing left out, nothing invented."""

import re
import shlex
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from fakes.engine import counters
from support.documents import names, rows
from unit.proxy import NIC

from colo_proxy import config
from colo_proxy.checkpoint import diagram
from colo_proxy.checkpoint.commands import Alarm, Began, FailedOver, Finished, RequestCheckpoint, StateChanged
from colo_proxy.checkpoint.machine import LABELS, TRANSITIONS, Machine, State
from colo_proxy.cli.main import COMMANDS
from colo_proxy.config import sections
from colo_proxy.control.handlers import Commands
from colo_proxy.control.protocol import CommandError
from colo_proxy.core.policy import ACTIONS
from colo_proxy.engine.messages import PortFault
from colo_proxy.telemetry import event_log as events
from colo_proxy.telemetry.metrics import ProxyCollector
from colo_proxy.telemetry.stats import RESULTS, Totals
from colo_proxy.vocabulary import Divergence, FlowInfo, Port, Reason
from docs import pictures, reference

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "grafana" / "README.md",
    *sorted(DOCS.glob("*.md")),
]


def test_every_move_of_the_table_is_in_the_picture() -> None:
    drawn = {(old, why, new) for whys, olds, new in pictures.moves() for old in olds for why in whys}
    assert drawn == {(old, why, new) for (old, new), whys in diagram.moves().items() for why in whys}
    table = {
        (old, event.__name__, new)
        for old, moves in TRANSITIONS.items()
        for event, new in moves.items()
        if new is not old
    }
    assert table - drawn == set()
    beyond = {why for old, why, new in drawn - table}
    assert beyond == {"stop applied late", "commit applied", "period over"}


def test_every_state_and_event_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = pictures.states().svg()
    words = " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", picture))
    events_ = {why for whys in diagram.moves().values() for why in whys}
    for said in {state.name for state in State} | events_:
        assert re.search(rf"\b{said}\b", words), said
    ends = {int(x) for x in re.findall(r'url\(#tip\)" d="M\d+ \d+H(\d+)"', picture)}
    assert len(ends) == len({new for _, new in diagram.moves()} | {State.OBSERVING})
    fewer = {move: whys for move, whys in diagram.moves().items() if whys != ["SvmStopped"]}
    monkeypatch.setattr(diagram, "moves", lambda: fewer)
    assert pictures.states().svg() != picture, "a table that differs makes another picture"


def test_every_module_is_on_the_map() -> None:
    page = (DOCS / "architecture.md").read_text()
    tree = page[page.index("## The tree is the picture") : page.index("## Two worlds")]
    for suffix in ("py", "pyx", "pxd"):
        for path in (ROOT / "colo_proxy").rglob(f"*.{suffix}"):
            if path.parent.name == "cli" or path.stem == "__init__":
                continue
            below = path.parent.relative_to(ROOT / "colo_proxy")
            folder = "beside them" if below == Path() else f"`{below}/`"
            named = [line for line in tree.splitlines() if line.startswith(f"| {folder}")]
            assert any(f"`{path.stem}`" in line for line in named), path


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_what_is_made_from_the_code_is_current(page: Path) -> None:
    text = page.read_text()
    assert text == reference.updated(text), "run: make reference"


def test_the_pictures_are_current_and_shown() -> None:
    page = "".join((DOCS / name).read_text() for name in ("streams.md", "architecture.md", "qemu.md"))
    assert {path.stem for path in pictures.FOLDER.glob("*.svg")} == set(pictures.PICTURES)
    for name, draw in pictures.PICTURES.items():
        assert (pictures.FOLDER / f"{name}.svg").read_text() == draw().svg(), "run: make reference"
        assert f"(pictures/{name}.svg)" in page


def test_no_page_has_what_only_a_forge_would_draw() -> None:
    assert [page.name for page in PAGES if "```mermaid" in page.read_text()] == []


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted(DOCS.glob("*.md"))], ids=lambda page: page.name)
def test_a_page_explains_the_words_that_it_uses(page: Path) -> None:
    explained = {
        "COLO": "coarse-grained lock-stepping",
        "VMM": "virtual machine monitor",
        "epoch": "the time between two checkpoints",
    }
    text = page.read_text()
    prose = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)
    for word, meaning in explained.items():
        assert not re.search(rf"\b{word}s?\b", prose) or meaning in " ".join(text.split()), word


def test_every_generated_part_has_a_place() -> None:
    pages = "".join(page.read_text() for page in DOCS.glob("*.md"))
    for part in reference.PARTS:
        assert pages.count(f"<!-- {part}: made by make reference -->") == 1
        assert pages.count(f"<!-- end of {part} -->") == 1


def test_every_key_has_a_meaning() -> None:
    for model in reference.SECTIONS.values():
        meanings = dict(reference.attribute_docstrings(model))
        assert list(meanings) == list(model.model_fields)
        assert all(meanings.values())


def test_every_argument_has_a_meaning() -> None:
    for path, command in reference.all_commands():
        for action in command._actions:
            assert reference._help(action), f"{path} {action.dest}"
        assert command.description, path


def test_configuration_policies_and_vmms() -> None:
    page = DOCS / "configuration.md"
    assert list(rows(page, "## `[[policy]]`")) == ["match", "action"]
    matches = {"protocol": "tcp", "vlan": 1, "ethertype": 1}
    keys = re.findall(r"\w+", " ".join(rows(page, "| key of `match`")))
    for key in keys:
        value = matches.get(key, 1 if "port" in key else "192.0.2.1")
        config.policy_rule({"match": {key: value}, "action": "bypass"})
    with pytest.raises(ValueError, match="other") as error:
        config.policy_rule({"match": {"other": 1}, "action": "bypass"})
    told = str(error.value).partition("the keys are ")[2]
    assert re.findall(r"\w+", told.replace(" and ", ", ")) == keys
    vmms = get_args(sections.Checkpoint.model_fields["vmm"].annotation)
    assert {name.strip('"') for name in rows(page, "| `vmm` | today |")} == set(vmms)


def test_metrics() -> None:
    totals = Totals(lambda: [counters()], Machine(0))
    totals.connected = lambda: {"control": True}
    totals.policies = lambda: [(config.policy_rule({"action": "bypass"}), 1)]
    program = {}
    for metric in ProxyCollector("web1", "control", totals).collect():
        suffix = {"counter": "_total", "info": "_info"}.get(metric.type, "")
        labels = {label for sample in metric.samples for label in sample.labels} - {"le"}
        program[metric.name + suffix] = (metric.type, labels)
    page = rows(DOCS / "metrics.md", "| metric |")
    assert {name: (kind, set(names(labels))) for name, (kind, labels, _) in page.items()} == program


def test_values_of_labels() -> None:
    table = {key: names(cells[0]) for key, cells in rows(DOCS / "metrics.md", "| label |").items()}
    nic = counters()
    assert table["state"] == list(LABELS)
    assert set(table["action"]) == set(ACTIONS)
    assert [name for name in table["result"] if name in RESULTS] == list(RESULTS)
    reasons = dict.fromkeys(reason.label for reason, _ in nic.divergences)
    assert table["reason` of a divergence"] == list(reasons)
    assert table["reason` of a drop"] == [drop.label for drop in nic.dropped] + ["overrun"]


@pytest.fixture
def commands() -> Commands:
    coordinator = SimpleNamespace(
        machine=Machine(0), engine=SimpleNamespace(snapshot=lambda: [counters()]), waiting_ns=lambda: 0
    )
    totals = Totals(lambda: [counters()], coordinator.machine)
    nic = SimpleNamespace(uplink="", primary="", secondary="")
    settings = SimpleNamespace(
        policies=(),
        nics=(nic,),
        proxy=SimpleNamespace(name="web1"),
        compare=sections.Compare(),
        checkpoint=SimpleNamespace(vmm="control"),
    )
    return Commands(settings, coordinator, totals, lambda: None)  # type: ignore[arg-type]


async def test_control_commands_and_their_arguments(commands: Commands) -> None:
    page = rows(DOCS / "control.md", "## Commands")
    known = await commands.execute("query-commands", {})
    assert list(page) == [command["name"] for command in known]  # type: ignore[attr-defined]
    for command, (arguments, _) in page.items():
        with pytest.raises(CommandError) as error:
            await commands.execute(command, {"no-such": 1})
        assert "no-such" in error.value.desc
        for argument in () if "optional" in arguments else names(arguments):
            with pytest.raises(CommandError, match=f"needs the argument '{argument}'"):
                await commands.execute(command, {})


async def test_what_query_status_returns(commands: Commands) -> None:
    _, told = rows(DOCS / "control.md", "## Commands")["query-status"]
    status: Any = await commands.execute("query-status", {})
    status_keys, _, nic_keys = told.partition("Each of `nics`")
    assert names(status_keys) == list(status)
    assert names(nic_keys) == list(status["nics"][0])


async def test_what_query_stats_returns(commands: Commands) -> None:
    _, told = rows(DOCS / "control.md", "## Commands")["query-stats"]
    assert names(told) == list(await commands.execute("query-stats", {}))  # type: ignore[call-overload]


def test_what_query_flows_returns() -> None:
    _, told = rows(DOCS / "control.md", "## Commands")["query-flows"]
    keys = [name for name in names(told.partition("Each:")[2]) if re.fullmatch("[a-z_]+", name)]
    assert keys == [field for field in FlowInfo.__slots__ if field != "isn_svm"]


@pytest.mark.parametrize(
    "what",
    [
        RequestCheckpoint(0, "start"),
        Began(0),
        Finished("committed", 1, "start", 1),
        Finished("aborted", 1, "start", 1),
        Divergence(0, "", "", Reason.PAYLOAD, 0, 0),
        StateChanged("requested", "stopped", ""),
        FailedOver(1, ""),
        Alarm(active=True, held_ns=0),
        PortFault(0, Port.UPLINK, 0, ""),
    ],
)
def test_fields_of_events(what: Any) -> None:
    page = rows(DOCS / "control.md", "## Events")
    assert sorted(page) == sorted(events.NAMES)
    event = events.event_of(what)
    assert event
    name, data = event
    assert names(page[name][0]) == list(data)


def test_error_classes() -> None:
    assert CommandError.__doc__
    known = re.findall(r"[A-Z]\w+", CommandError.__doc__.partition("Classes:")[2])
    assert list(rows(DOCS / "control.md", "## Errors")) == known


def test_the_commands_of_the_readme() -> None:
    page = rows(ROOT / "README.md", "## Commands")
    assert [re.findall(r"colo-proxy ([a-z-]+)", row)[0] for row in page] == list(COMMANDS)


def command_lines(text: str) -> Iterator[str]:
    """What is said to be typed after `colo-proxy`, in code on a line of its own or within one."""
    for code in re.findall(r"```(?:sh|text)\n(.*?)```", text, re.DOTALL):
        for line in code.replace("\\\n", " ").splitlines():
            yield from re.findall(r"^(?:\$ )?(?:sudo )?(?:\S*/)?colo-proxy (.+)", line)
    yield from re.findall(r"`colo-proxy ([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_that_are_shown_exist(page: Path) -> None:
    known = {
        path: {o for a in each._actions for o in a.option_strings} for path, each in reference.all_commands()
    }
    for line in command_lines(page.read_text()):
        words = list(takewhile(lambda word: word not in ("|", "&&", ">"), shlex.split(line, comments=True)))
        if words[0] in ("COMMAND", "--version"):
            continue
        groups = ("policy", "pair")  # of commands
        path = " ".join(words[:2]) if words[0] in groups and len(words) > 1 else words[0]
        assert path in known or path in groups, line
        options = {word.partition("=")[0].strip("[]") for word in words if re.match(r"\[?--?[a-z]", word)}
        assert options <= known.get(path, set()), line


def test_command_lines_are_found() -> None:
    text = "`colo-proxy flows --json` and\n```sh\n.venv/bin/colo-proxy check a.toml  # why\n```\n"
    assert list(command_lines(text)) == ["check a.toml  # why", "flows --json"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link, part in re.findall(r"\]\(([^)#:]*)(#[^)]+)?\)", page.read_text()):
        target = page.parent / link if link else page
        assert target.exists(), link
        assert not part or part[1:] in anchors(target), link + part


def anchors(page: Path) -> set[str]:
    """The anchors that a forge, and Sphinx, give to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_targets_of_make_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", page.read_text())) <= targets


def test_the_tests_that_hold_the_properties_exist() -> None:
    for properties in rows(DOCS / "comparison.md", "## 8.").values():
        assert names(properties[0])
        for name in names(properties[0]):
            path, _, function = name.partition("::")
            assert (ROOT / path).exists(), name
            assert not function or re.search(rf"\b{function}\b", (ROOT / path).read_text()), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_metrics_that_are_named_exist(page: Path) -> None:
    known = set(rows(DOCS / "metrics.md", "| metric |"))
    known |= {f"{name}{suffix}" for name in known for suffix in ("_bucket", "_sum", "_count")}
    named = set(re.findall(r"\bcolo_proxy_[a-z_]+[a-z]\b", page.read_text()))
    assert named <= known, named - known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_configurations_that_are_shown_are_right(page: Path) -> None:
    for text in re.findall(r"^```toml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        whole = text if "[[nic]]" in text else text + NIC
        config.parse(whole, Path("/etc/colo-proxy/web1.toml"))
