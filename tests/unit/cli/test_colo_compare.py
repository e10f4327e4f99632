"""What a user of `colo-compare` may get wrong. What it does with frames: tests/peers, tests/vm."""

from pathlib import Path

import pytest

from colo_proxy.cli.main import main


def ends(tmp_path: Path, **changed: str) -> list[str]:
    given = {end: f"unix:{tmp_path / end}" for end in ("primary-in", "secondary-in", "outdev")} | changed
    return ["colo-compare", *(word for end, value in given.items() for word in (f"--{end}", value))]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"outdev": "packet:eth0"},
            "argument --outdev: 'packet:eth0' is not a socket; write unix:PATH or tcp:HOST",
        ),
        ({"outdev": "unix:rel"}, "is not absolute; begin it with /"),
        ({"compare-timeout": "0"}, "'0' is not a number of milliseconds from 1 to 3600000"),
        ({"max-queue-size": "9" * 30}, "is not a number of frames from 1 to 1000000"),
    ],
)
def test_wrong_arguments(
    tmp_path: Path, changed: dict[str, str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(ends(tmp_path, **changed))
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"outdev": "unix:/none/out"}, "/none/out: the directory does not exist; create it: mkdir /none"),
        ({"outdev": "tcp:203.0.113.9:9"}, "tcp:203.0.113.9:9: this host has no such address"),
        ({"notify-dev": "tcp:127.0.0.1:9", "outdev": "tcp:127.0.0.1:9"}, "is the --outdev already"),
    ],
)
def test_endpoints_that_cannot_be_listened_on(
    tmp_path: Path, changed: dict[str, str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(ends(tmp_path, **changed)) == 2
    out = capsys.readouterr().err
    assert said in out
    assert "Traceback" not in out
    assert list(tmp_path.iterdir()) == []
