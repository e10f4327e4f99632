"""The steady state allocates nothing: every call of the C allocator by the data path's thread is counted."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent

# Counts what one thread asks of the allocator. glibc keeps its own under these names.
COUNTER = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <stddef.h>
#include <unistd.h>
#include <sys/syscall.h>

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t),
    *__libc_memalign(size_t, size_t);
volatile long watched;          /* thread id */
volatile long allocations;
static void count(void) { if (watched && syscall(SYS_gettid) == watched) allocations++; }
void *malloc(size_t size) { count(); return __libc_malloc(size); }
void *calloc(size_t count_, size_t size) { count(); return __libc_calloc(count_, size); }
void *realloc(void *at, size_t size) { count(); return __libc_realloc(at, size); }
void *memalign(size_t align, size_t size) { count(); return __libc_memalign(align, size); }
void *aligned_alloc(size_t align, size_t size) { count(); return __libc_memalign(align, size); }
int posix_memalign(void **into, size_t align, size_t size) {
    count();
    *into = __libc_memalign(align, size);
    return *into ? 0 : ENOMEM;
}
"""

# Clients' frames to both guests, and what both guests say to the clients: 100,000 frames and more.
TRAFFIC = r"""
import ctypes
import sys
import time
from pathlib import Path
from unit.engine.test_engine import Bench, frame, read
from unit.engine.ports.test_qemu_socket import wire
from colo_proxy.vocabulary import Mode

counter = ctypes.CDLL(None)
watched, allocations = (ctypes.c_long.in_dll(counter, name) for name in ("watched", "allocations"))

def talk(bench, rounds, wait=False):
    frames = [frame(i) for i in range(500)]
    said = b"".join(map(wire, frames))
    for _ in range(rounds):
        bench.uplink.sendall(said)
        read(bench.pvm, *frames)
        read(bench.svm, *frames)
        bench.pvm.sendall(said)
        while wait and bench.engine.snapshot()[0].held_frames < len(frames):
            time.sleep(0.001)
        bench.svm.sendall(said)
        read(bench.uplink, *frames)

with Bench(mode=Mode.COMPARE) as bench:
    talk(bench, 10, wait=True)  # as many wait as ever can: the high-water mark
    watched.value = bench.thread.native_id
    allocations.value = 0
    talk(bench, 70)
    steady = allocations.value
    # A divergence is copied for its report, and so shows that the counter counts.
    bench.pvm.sendall(wire(frame(1)))
    bench.svm.sendall(wire(frame(2)))
    bench.events(1)
    print(bench.engine.snapshot()[0].released, steady, allocations.value)
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler (cc)")
def test_100_000_frames_allocate_nothing(tmp_path: Path) -> None:
    (tmp_path / "counter.c").write_text(COUNTER)
    library = tmp_path / "counter.so"
    subprocess.run(
        ["cc", "-O1", "-shared", "-fPIC", "-o", library, tmp_path / "counter.c"], check=True, timeout=60
    )
    tests = HERE.parents[1]
    ran = subprocess.run(
        [sys.executable, "-c", TRAFFIC],
        env=os.environ | {"LD_PRELOAD": str(library), "PYTHONPATH": f"{tests}{os.pathsep}{tests.parent}"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    released, steady, after = map(int, ran.stdout.split())
    assert released == 80 * 500
    assert steady == 0
    assert after > 0
