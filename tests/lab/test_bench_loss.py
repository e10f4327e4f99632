"""`python -m bench.loss` measures what it says. No figure is looked at."""

from pathlib import Path

import pytest

from bench import loss


def test_each_way_is_measured(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["--transfers", "2", "--size", "100000", "--keep", str(tmp_path)]
    assert loss.main([*words, "--loss", "0", "--duplicates", "1", "--reordering", "0"]) == 0
    shown = capsys.readouterr().out
    for line in (
        "| download, median, ms |",
        "| upload, 95th percentile, ms |",
        "checkpoints: 0 {}",
        "divergences: 0 {}",
    ):
        assert line in shown
    counts = {line.split(":")[0]: line for line in shown.splitlines() if " frames, " in line}
    assert set(counts) == {loss.BRIDGE, loss.PROXY}
    for line in counts.values():
        frames, duplicated = (
            int(line.split(word)[0].split()[-1].replace(",", "")) for word in (" frames", " duplicated")
        )
        assert frames == duplicated > 0, line
