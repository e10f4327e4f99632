"""Rates and percentiles of `colo-proxy top`, by hand."""

from typing import Any

from colo_proxy.top.rates import PERCENTILES, WINDOW, History, Look, lost, percentiles

NONE = [0] * 32


def look(at: float, *, frames: int = 0, holds: list[int] = NONE, checkpoints: int = 0) -> Look:
    port = {"received_bytes": frames * 100, "received": frames, "sent_bytes": frames * 50, "sent": frames * 2}
    nic: dict[str, Any] = {
        "ports": {"uplink": port, "primary": port, "secondary": port},
        "hold_buckets": holds,
        "stream_gaps": {"primary": 0, "secondary": frames},
        "dropped_frames": {"memory": frames, "policy": 7 * frames, "old-epoch": frames},
    }
    status = {"checkpoints": checkpoints, "divergences": 2 * checkpoints, "bypassed_frames": 3 * frames}
    return Look(at, status, {"nics": [nic]})


def bucket(**counts: int) -> list[int]:
    return [counts.get(f"b{k}", 0) for k in range(32)]


def test_rates_are_those_since_the_look_before() -> None:
    history = History()
    history.add(look(0))
    assert history.figures().ports[0]["uplink"].bytes_in == 0
    history.add(look(1, frames=1000))
    history.add(look(1.5, frames=1100, checkpoints=3))
    figures = history.figures()
    uplink = figures.ports[0]["uplink"]
    assert (uplink.bytes_in, uplink.frames_in, uplink.bytes_out, uplink.frames_out) == (
        20_000,
        200,
        10_000,
        400,
    )
    assert (figures.drops, figures.bypassed) == (200, 600)
    assert figures.gaps == {"primary": 0, "secondary": 200}


def test_counters_that_began_again_give_no_negative_rate() -> None:
    history = History()
    history.add(look(0, frames=1000, checkpoints=9))
    history.add(look(1))
    assert history.figures().ports[0]["uplink"].frames_in == 0
    assert (history.figures().checkpoints, history.figures().bypassed) == (0, 0)


def test_checkpoints_are_those_of_a_minute() -> None:
    history = History()
    history.add(look(0))
    history.add(look(1, checkpoints=1))
    assert history.figures().checkpoints == 6, "one of the first second is not sixty a minute"
    for second in range(2, 201):
        history.add(look(second, checkpoints=2 + second // 20))  # one in 20 s
    figures = history.figures()
    assert (figures.checkpoints, figures.divergences) == (3, 6)
    assert len(history._counts) <= 61 + 1


def test_holds_are_those_of_the_window() -> None:
    history = History()
    for second in range(30):
        # Slow ones in the first ten seconds, quick ones from then on.
        history.add(look(second, holds=bucket(b20=min(second, 10), b3=max(0, second - 10))))
    assert history.figures().hold_us == dict.fromkeys(PERCENTILES, 8)
    assert len(history._looks) <= WINDOW + 1


def test_percentiles() -> None:
    assert percentiles(NONE) == dict.fromkeys(PERCENTILES)
    assert percentiles(bucket(b0=1)) == dict.fromkeys(PERCENTILES, 1)
    assert percentiles(bucket(b1=50, b4=40, b10=9, b31=1)) == {50: 2, 90: 16, 99: 1024, 100: 1 << 31}


def test_what_is_dropped_on_purpose_is_no_loss() -> None:
    assert lost(look(0, frames=4).stats) == {"memory": 4}
