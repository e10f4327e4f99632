"""`make vm-demo`: a real pair of QEMUs, protected, and its PVM killed under a client's download.

    python -m colo_vm.demo     # as root; the first run builds guest and QEMU, about a minute and a half

Exit status 1 when anything shown was not as it must be.
"""

import asyncio
import hashlib
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from . import guest
from .debian import LabError, say
from .network import CLIENT
from .stage import URL, Stage

CLOCKS = 10
FILE_SERVED = Path(__file__)  # what the guest fetches from the client


class Demo:
    """The acts, in order; `wrong` counts what was not as it must be."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.wrong = 0

    def check(self, text: str, right: bool) -> None:
        """Report one thing seen."""
        self.wrong += not right
        say(("  ✓ " if right else "  ✗ ") + text)

    async def boot(self) -> None:
        """PVM, proxy, SVM, COLO."""
        stage = self.stage
        say(f"booting the PVM with {stage.qemu}, accelerator {stage.accel}")
        await stage.pair.start()
        await stage.start_proxy()
        await stage.until_state("unprotected")
        (tiny,) = await stage.fetch("/tiny")
        self.check(
            "unprotected: the service answers through the proxy, there is no replica yet", tiny["complete"]
        )
        say("starting the SVM and entering COLO")
        await stage.pair.protect()
        await stage.until_state("protected")
        self.check(f"protected after checkpoint {stage.checkpoints()}", True)

    async def download(self) -> None:
        """64 MiB, five times."""
        before = self.stage.checkpoints()
        runs = await self.stage.fetch("/64m", "--times", "5")
        speeds = sorted(run["bytes"] / run["seconds"] / 1e6 for run in runs if "bytes" in run)
        hashes = all(run.get("sha256") == guest.sha256("64m") for run in runs)
        self.check(
            f"5 downloads of 64 MiB, every hash right, median {speeds[len(speeds) // 2]:.0f} MB/s", hashes
        )
        spent = self.stage.checkpoints() - before
        surprises = self.stage.surprises()
        late = [surprise for surprise in surprises if surprise.startswith("missing")]
        text = f"checkpoints they cost: {spent}"
        if spent > len(surprises):
            text += "; a Date header differed, across a second"
        if late:
            text += f"; one VM was silent for too long, this host is busy: {', '.join(late)}"
        self.check(text, late == surprises)

    async def clocks(self) -> None:
        """Answers that differ each time."""
        before = self.stage.checkpoints()
        answers = await self.stage.fetch("/cgi-bin/clock", "--times", str(CLOCKS))
        times = sorted(answer["seconds"] for answer in answers)
        self.check(
            f"{CLOCKS} requests whose answers differ (a nanosecond clock): all answered, "
            f"median {times[len(times) // 2] * 1000:.0f} ms",
            all(answer["complete"] for answer in answers),
        )
        spent = self.stage.checkpoints() - before
        self.check(f"one checkpoint each: {spent}", spent == CLOCKS)

    async def outward(self) -> None:
        """The guest opens a connection to the client."""
        async with _served(self.stage) as port:
            url = f"/cgi-bin/fetch?http://{CLIENT}:{port}/{FILE_SERVED.name}"
            (answer,) = await self.stage.fetch(url)
        said = hashlib.sha256(FILE_SERVED.read_bytes()).hexdigest() + "\n"
        expected = hashlib.sha256(said.encode()).hexdigest()
        self.check(
            "a connection that the guest itself opened, what it fetched is right",
            answer.get("sha256") == expected,
        )

    async def kill(self) -> None:
        """SIGKILL to the PVM in mid-download."""
        client = await self.stage.client(URL + "/64m", "--pace", "33000000", "--mark", "20000000")
        assert client.stdout is not None
        await client.stdout.readline()
        say("SIGKILL to the PVM, 20 MB into a download paced at 33 MB/s")
        self.stage.pair.pvm.kill()
        out, _ = await asyncio.wait_for(client.communicate(), 60)
        run: dict[str, Any] = json.loads(out)
        self.check(
            f"the client got all {run.get('bytes', 0):,} bytes, hash right, "
            f"longest silence {run.get('longest_silence', 0) * 1000:.0f} ms {run.get('error', '')}",
            run.get("sha256") == guest.sha256("64m"),
        )
        await self.stage.until_state("failed-over")
        (tiny,) = await self.stage.fetch("/tiny")
        self.check(
            "failed over: the SVM is the service, and takes new connections", tiny.get("complete", False)
        )


@asynccontextmanager
async def _served(stage: Stage) -> AsyncIterator[int]:
    """An HTTP server in the client namespace that serves this directory; gives its port."""
    port = 8000
    script = (
        "import http.server, sys; server = http.server.HTTPServer((sys.argv[1], int(sys.argv[2])), "
        "http.server.SimpleHTTPRequestHandler); print('ready', flush=True); server.serve_forever()"
    )
    command = stage.network.inside(stage.network.client, sys.executable, "-c", script, CLIENT, str(port))
    server = await asyncio.create_subprocess_exec(
        *command,
        cwd=FILE_SERVED.parent,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert server.stdout is not None
    try:
        await asyncio.wait_for(server.stdout.readline(), 10)
        yield port
    finally:
        server.kill()
        await server.wait()


async def play() -> int:
    """All acts; the number of things that went wrong."""
    async with Stage() as stage:
        demo = Demo(stage)
        for act in (demo.boot, demo.download, demo.clocks, demo.outward, demo.kill):
            await act()
        if demo.wrong:
            say("the proxy's log ends:\n" + stage.log.read_text(errors="replace")[-3000:])
    return demo.wrong


def main() -> int:
    try:
        wrong = asyncio.run(play())
    except LabError as error:
        print(f"vm-demo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    say("all as it must be" if not wrong else f"{wrong} things were not as they must be")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
