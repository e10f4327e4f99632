"""The thread of the data path on a processor that somebody else needs too."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unit.engine.ports.test_qemu_socket import wire
from unit.engine.test_engine import Bench, frame, read

from colo_proxy.vocabulary import Mode

FRAMES = 200


@contextmanager
def busy(processor: int) -> Iterator[None]:
    """Somebody always needs this processor."""
    words = f"import os; os.sched_setaffinity(0, {{{processor}}}); print(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", words], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()


def put_off(thread: int) -> int:
    """How often a thread has had to leave the processor while it could have run on (proc(5), status)."""
    status = Path(f"/proc/self/task/{thread}/status").read_text("ascii")
    return int(status.partition("nonvoluntary_ctxt_switches:")[2].split()[0])


def test_the_thread_does_not_yield_a_processor_that_is_needed_after_each_frame() -> None:
    processor = max(os.sched_getaffinity(0))
    with Bench(mode=Mode.PASS) as bench, busy(processor):
        thread = bench.thread.native_id
        assert thread is not None
        os.sched_setaffinity(thread, {processor})
        before = put_off(thread)
        for number in range(FRAMES):
            bench.pvm.sendall(wire(frame(number)))
            read(bench.uplink, frame(number))
        assert put_off(thread) - before < FRAMES // 4, "each yield gives up a time slice"
