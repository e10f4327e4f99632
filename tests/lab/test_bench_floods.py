"""`python -m bench.floods` measures what it says. No figure is looked at."""

import shutil

import pytest

from bench import floods


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler (cc)")
def test_listings_and_a_storm(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floods, "SILENT_S", 0.0)
    words = ["--rounds", "1", "--seconds", "0.2", "--flows", "700", "--diverging", "600"]
    assert floods.main(words) == 0
    shown = capsys.readouterr().out
    assert "| 99th percentile, µs |" in shown
    assert " listings, of 700 flows and those of the measurement itself: 70" in shown
    assert "Storm: 600 flows diverged" in shown
