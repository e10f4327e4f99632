"""Run the fuzzer for a while: PYTHONPATH=tests python -m fuzz.run --seconds 600

What it finds that reaches further is kept in build/fuzz/corpus, from where the next run goes on. Exit 0:
nothing was found; 1: an input broke a rule or tripped a sanitizer, and lies in build/fuzz/findings now
(fuzz.show tells its story). A copy of it in tests/fuzz/corpus, under a name that says what was wrong, makes
it a regression test.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from fuzz import build

KEPT = build.BUILD / "corpus"
FINDINGS = build.BUILD / "findings"
LONGEST = 300  # bytes: some sixty steps


def for_seconds(seconds: int) -> tuple[str, ...]:
    """Another run each time."""
    return (f"-max_total_time={seconds}",)


def the_same(runs: int) -> tuple[str, ...]:
    """The same inputs each time, for the same build and corpus.

    Without learning from operands of comparisons: those of pointers differ from process to process.
    """
    return ("-seed=1", f"-runs={runs}", "-use_cmp=0")


def command(which: tuple[str, ...], kept: Path = KEPT) -> list[str]:
    """The command line of a run. Raises build.MissingToolError without clang."""
    for directory in (kept, FINDINGS):
        directory.mkdir(parents=True, exist_ok=True)
    return [
        str(build.build_fuzzer()),
        *which,
        f"-max_len={LONGEST}",
        "-len_control=0",
        "-timeout=20",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
        f"-artifact_prefix={FINDINGS}/",
        str(kept),
        str(build.HERE / "corpus"),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=600)
    arguments = parser.parse_args()
    try:
        words = command(for_seconds(arguments.seconds))
    except build.MissingToolError as error:
        print(error, file=sys.stderr)
        return 2
    return 1 if subprocess.run(words, check=False, env=build.environment()).returncode else 0


if __name__ == "__main__":
    sys.exit(main())
