"""A QMP server that answers as QEMU does, or misbehaves as told. UNIX socket, one client at a time."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

GREETING = {
    "QMP": {"version": {"qemu": {"major": 11, "minor": 1, "micro": 2}, "package": ""}, "capabilities": []}
}


class FakeQemu:
    """`mode`: the COLO mode it reports. `received`: (command, arguments) in order, negotiation left out."""

    def __init__(self, path: Path, mode: str = "none", version: tuple[int, int, int] = (11, 1, 2)) -> None:
        self.path, self.mode, self.last_mode, self.version = path, mode, "none", version
        self.running = True
        self.objects: Any = []  # of `qom-list`
        self.kvm = False
        self.silent = False  # take commands, answer none
        self.greets = True
        self.received: list[tuple[str, dict[str, Any]]] = []
        self.sessions = 0
        self._writer: asyncio.StreamWriter | None = None
        self._server: asyncio.AbstractServer | None = None

    async def listen(self) -> "FakeQemu":
        self._server = await asyncio.start_unix_server(self._serve, str(self.path))
        return self

    async def die(self) -> None:
        """As SIGKILL: the socket file stays, nobody listens."""
        assert self._server is not None
        self._server.close()
        self.hang_up()
        await asyncio.sleep(0)

    def hang_up(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
            self._writer = None

    def write(self, data: bytes) -> None:
        assert self._writer is not None
        self._writer.write(data)

    def emit(self, event: str, at_ns: int | None = None, **data: object) -> int:
        """Send an event; returns its stamp in nanoseconds."""
        stamp = at_ns if at_ns is not None else time.time_ns() // 1000 * 1000
        clock = {"seconds": stamp // 10**9, "microseconds": stamp % 10**9 // 1000}
        self.write(json.dumps({"event": event, "data": data, "timestamp": clock}).encode() + b"\r\n")
        return stamp

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.sessions += 1
        self._writer = writer
        if self.greets:
            writer.write(json.dumps(GREETING).encode() + b"\r\n")
        decoder, text = json.JSONDecoder(), ""
        while data := await self._read(reader):
            text += data.decode()
            while text:  # clients end messages with no newline
                try:
                    message, end = decoder.raw_decode(text)
                except json.JSONDecodeError:
                    break
                text = text[end:].lstrip()
                self._answer(writer, message)

    @staticmethod
    async def _read(reader: asyncio.StreamReader) -> bytes:
        try:
            return await reader.read(65536)
        except ConnectionError:
            return b""

    def _answer(self, writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
        command = message["execute"]
        if command != "qmp_capabilities":
            self.received.append((command, message.get("arguments", {})))
        if self.silent:
            return
        major, minor, micro = self.version
        answers: dict[str, Any] = {
            "query-version": {"qemu": {"major": major, "minor": minor, "micro": micro}, "package": ""},
            "qom-list": self.objects,
            "query-kvm": {"enabled": self.kvm, "present": True},
            "query-colo-status": {"mode": self.mode, "last-mode": self.last_mode, "reason": "none"},
            "query-status": {"running": self.running, "status": "running" if self.running else "colo"},
        }
        if command == "x-colo-lost-heartbeat":
            self.last_mode, self.mode = self.mode, "none"
        reply = {"return": answers.get(command, {}), "id": message.get("id")}
        writer.write(json.dumps(reply).encode() + b"\r\n")
