"""`colo-proxy checkpoint`: how long it waits, and what ends its waiting."""

import socket
import threading
from pathlib import Path

import pytest

from colo_proxy.cli.main import main
from colo_proxy.control import protocol


@pytest.mark.parametrize("timeout", ["0", "-1", "nan", "inf", "1e400", "3601", "soon", ""])
def test_checkpoint_refuses_a_timeout_that_is_none(timeout: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["checkpoint", "--socket", "/nowhere", f"--timeout={timeout}"])
    assert ended.value.code == 2
    assert f"{timeout!r} is not a number of seconds from 0.001 to 3600\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("now", "status", "said"),
    [
        ({"state": "protected", "epoch": 8}, 0, "checkpoint committed: epoch 8, 12.5 ms"),
        ({"state": "failed-over", "epoch": 7}, 6, "the SVM has taken over; there will be no checkpoint"),
    ],
)
def test_checkpoint_whose_end_is_among_lost_events(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], now: dict[str, object], status: int, said: str
) -> None:
    lost = protocol.event("EVENTS_LOST", {"lost": 1, "state": "requested", "epoch": 7}, 0, 0)
    ended = protocol.event("EVENTS_LOST", {"lost": 900, **now}, 0, 0)
    stats = {"checkpoint_seconds_last": 0.0125}
    path = tmp_path / "ctl"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def answer() -> None:
            peer, _ = listener.accept()
            with peer, peer.makefile("rb") as requests:
                peer.sendall(protocol.greeting("0.1.0", "web1"))
                requests.readline()
                peer.sendall(protocol.encode({"return": {"epoch": 7}}) + lost + ended)
                if requests.readline():
                    peer.sendall(protocol.encode({"return": stats}))
                    requests.readline()

        thread = threading.Thread(target=answer)
        thread.start()
        assert main(["checkpoint", "--socket", str(path), "--timeout", "5"]) == status
        thread.join()
    assert said in "".join(capsys.readouterr())
