"""The limit of open files, in child processes: it does not come back."""

import subprocess
import sys
from pathlib import Path

CODE = """
import resource, sys
from colo_proxy.host import descriptors
from colo_proxy import errors
soft, hard, needed = (int(word) for word in sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
try:
    descriptors.provide(needed)
except errors.HostError as error:
    print(error)
print(resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def provided(soft: int, hard: int, needed: int) -> list[str]:
    words = [sys.executable, "-c", CODE, *map(str, (soft, hard, needed))]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.splitlines()


def test_as_many_as_may_be() -> None:
    assert provided(24, 500, 100) == ["(500, 500)"]


def test_too_low_a_limit_is_one_line_that_says_what_to_do() -> None:
    assert provided(24, 24, 100) == [
        "the limit of open files is 24, and the proxy needs 100; raise it (ulimit -n 100, "
        "LimitNOFILE= in the unit)",
        "(24, 24)",
    ]


def test_colo_compare_with_too_few(tmp_path: Path) -> None:
    ends = [f"--{end}=unix:{tmp_path}/{end}" for end in ("primary-in", "secondary-in", "outdev")]
    words = [sys.executable, "-m", "colo_proxy", "colo-compare", *ends]
    done = subprocess.run(
        ["/bin/sh", "-c", 'ulimit -n 24; exec "$@"', "sh", *words],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("colo-proxy: the limit of open files is 24, and the proxy needs ")
    assert done.stderr.count("\n") == 1
