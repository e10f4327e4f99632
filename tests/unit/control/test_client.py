"""What the commands' client makes of what a proxy says, or no longer does."""

import socket
import threading
from pathlib import Path

import pytest

from colo_proxy.control import protocol
from colo_proxy.control.client import Client
from colo_proxy.errors import ControlError, Refused


def hung_up_on(directory: Path, *said: bytes) -> Client:
    """A client of a proxy that has greeted it, said this and closed the connection."""
    path = str(directory / "ctl")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def answer() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(protocol.greeting("0.1.0", "web1") + b"".join(said))

        thread = threading.Thread(target=answer)
        thread.start()
        client = Client(path)
        thread.join()
    return client


def test_why_it_was_turned_away_is_read_though_nothing_can_be_sent(tmp_path: Path) -> None:
    error = protocol.CommandError("GenericError", "64 clients are connected already")
    with (
        hung_up_on(tmp_path, protocol.event("ALARM", {}, 0, 0), protocol.failure(error)) as client,
        pytest.raises(ControlError, match=r"^query-status: 64 clients are connected already$"),
    ):
        client.execute("query-status")


def test_who_only_listens_reads_why_too(tmp_path: Path) -> None:
    error = protocol.CommandError("GenericError", "64 clients are connected already")
    with (
        hung_up_on(tmp_path, protocol.failure(error)) as client,
        pytest.raises(Refused, match=r"ctl: 64 clients are connected already$"),
    ):
        next(client.events())


def test_no_permission_is_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", denied, raising=False)
    with pytest.raises(Refused, match="permission denied; only root and the group"):
        Client(str(tmp_path / "ctl"))


def test_a_proxy_that_has_gone_without_a_word(tmp_path: Path) -> None:
    with (
        hung_up_on(tmp_path) as client,
        pytest.raises(ControlError, match=r"ctl: the proxy has closed the connection$"),
    ):
        client.execute("query-status")
