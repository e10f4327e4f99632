"""A stop that is being waited for needs no clock: what was queued before it is old, whatever time it is."""

import subprocess
import sys
from pathlib import Path

import pytest
from support.wires import needs_wires

pytestmark = [pytest.mark.lab, needs_wires]

# In the process of the test alone: the clock of frames is the kernel's, and is right.
SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>

int clock_gettime(clockid_t which, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(which, now);
    if (which == CLOCK_REALTIME)
        now->tv_sec += SHIFT;
    return result;
}
"""

PLAY = """
import sys
sys.path[:0] = {path!r}
from support.wires import namespaces
from unit.engine.test_engine import frame
from unit.engine.test_engine_wires import Wires
from unit.engine.ports.test_port import PLAIN, number, port, receive
from colo_proxy.engine.engine import Word
from colo_proxy.vocabulary import Drop, Mode

with namespaces() as (one,):
    wires = Wires(one, mode=Mode.COMPARE)
    client, pvm, svm = (port(one.packet(name)) for name in ("client", "pvm", "svm"))
    for first in range(0, 150, 50):
        pvm.send([(PLAIN, frame(first + i)) for i in range(50)])
        svm.send([(PLAIN, frame(1000 + first + i)) for i in range(50)])
    for word in (Word.SVM_STOP, Word.PVM_STOP, Word.COMMIT):
        wires.engine.command(word)
    with wires:
        assert [event.late for event in wires.events(3)] == [False] * 3
        assert [number(data) for _, data, _ in receive(client, 150)] == list(range(150))
        counted = wires.engine.snapshot()[0]
        assert (counted.held_frames, counted.dropped[Drop.OLD_EPOCH]) == (0, 150)
        pvm.send([(PLAIN, frame(7))])
        svm.send([(PLAIN, frame(7))])
        assert [number(data) for _, data, _ in receive(client, 1)] == [7]
print("played")
"""


@pytest.mark.parametrize("shift", [-3600, 3600])
def test_a_clock_that_was_set_does_not_divide_what_was_queued(tmp_path: Path, shift: int) -> None:
    source, shim = tmp_path / "shim.c", tmp_path / "shim.so"
    source.write_text(SHIM)
    build = ["cc", "-shared", "-fPIC", f"-DSHIFT={shift}", "-o", str(shim), str(source), "-ldl"]
    subprocess.run(build, check=True)
    done = subprocess.run(
        [sys.executable, "-c", PLAY.format(path=[path for path in sys.path if path])],
        env={"LD_PRELOAD": str(shim), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "played\n"), done.stderr
