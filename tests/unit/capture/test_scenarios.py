"""`colo-proxy compare` on many small captures: verdict, reasons, offsets, and what clients would have received."""

import json
from typing import Any

import dpkt
import pytest
from transcripts.play import Play

from colo_proxy.cli.main import main
from colo_proxy.words import Frame, Port

from .frames import START, Timed, save
from .scenarios import SCENARIOS

VM = "02:00:00:00:00:02"


class Recorder:
    """What each guest says, for a capture of its port."""

    def __init__(self) -> None:
        self.said: dict[str, list[Timed]] = {"P": [], "S": []}

    def primary(self, frame: bytes, now: int) -> None:
        self.said["P"].append((START + now, frame))

    def secondary(self, frame: bytes, now: int) -> None:
        self.said["S"].append((START + now, frame))

    def take(self) -> list[Any]:
        return []


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(scenario, tmp_path, capsys):
    recorder = Recorder()
    play = Play(recorder, p_isn=1000, s_isn=77_000, c_isn=500_000)
    events = [line for line in lines(SCENARIOS[scenario]) if line.split()[0] not in {"!", ">", "held"}]
    wanted = [line for line in lines(SCENARIOS[scenario]) if line not in events]
    for event in events:
        play.happen(event)
    captures = [save(tmp_path / f"{who}.pcap", recorder.said[who]) for who in "PS"]
    released = tmp_path / "released.pcap"
    vm = ["--vm-mac", VM] if events else []
    status = main(["compare", *map(str, captures), *vm, "--json", "--released", str(released)])
    found = json.loads(capsys.readouterr().out)
    with released.open("rb") as file:
        frames = [Frame(Port.UPLINK, data) for _, data in dpkt.pcap.Reader(file)]
    # Each connection of a flow has its own ISN: told by the last that was set, as the transcript is read.
    came = [play.describe(frame) for frame in frames]
    assert came == [play.wanted(line, came[at : at + 1]) for at, line in enumerate(of(">", wanted))]
    differences = [f"! {each['reason']} {each['stream_offset']}" for each in found["divergences"]]
    assert differences == of("!", wanted)
    assert found["held_frames"] == sum(int(line.split()[1]) for line in of("held", wanted))
    assert found["released_frames"] == len(frames)
    assert (found["primary_frames"], found["secondary_frames"]) == tuple(
        len(said) for said in recorder.said.values()
    )
    assert (status, found["verdict"]) == ((1, "diverged") if differences else (0, "identical"))


def of(mark: str, wanted: list[str]) -> list[str]:
    return [line for line in wanted if line.split()[0] == mark]
