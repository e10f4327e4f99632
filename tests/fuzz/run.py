"""Run the fuzzers for a while: PYTHONPATH=tests python -m fuzz.run --seconds 600

The link of two hosts comes first, for a tenth of that time, then the comparator.

What it finds that reaches further is kept in build/fuzz/target/corpus, from where the next run goes on.
Exit 0: nothing was found; 1: an input broke a rule or tripped a sanitizer, and lies in
build/fuzz/target/findings now (fuzz.show tells its story). A copy of it in tests/fuzz/corpus, under a name
that says what was wrong, makes it a regression test.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from fuzz import build

LONGEST = 300  # bytes: some sixty steps


def for_seconds(seconds: int) -> tuple[str, ...]:
    """Another run each time."""
    return (f"-max_total_time={seconds}",)


def the_same(runs: int) -> tuple[str, ...]:
    """The same inputs each time, for the same build and corpus.

    Without learning from operands of comparisons: those of pointers differ from process to process.
    """
    return ("-seed=1", f"-runs={runs}", "-use_cmp=0")


def findings(target: build.Target = build.COMPARATOR) -> Path:
    """Where inputs lie that have broken something."""
    return target.directory / "findings"


def command(
    which: tuple[str, ...], kept: Path | None = None, target: build.Target = build.COMPARATOR
) -> list[str]:
    """The command line of a run. Raises build.MissingToolError without clang."""
    kept = kept or target.directory / "corpus"
    known = build.HERE / ("corpus" if target is build.COMPARATOR else "corpus_link")
    for directory in (kept, findings(target), known):
        directory.mkdir(parents=True, exist_ok=True)
    return [
        str(build.build_fuzzer(target)),
        *which,
        f"-max_len={LONGEST}",
        "-len_control=0",
        "-timeout=20",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
        f"-artifact_prefix={findings(target)}/",
        str(kept),
        str(known),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=600)
    arguments = parser.parse_args()
    try:
        runs = [
            command(for_seconds(max(1, arguments.seconds // 10)), target=build.LINK),
            command(for_seconds(arguments.seconds)),
        ]
    except build.MissingToolError as error:
        print(error, file=sys.stderr)
        return 2
    ended = [subprocess.run(words, check=False, env=build.environment()).returncode for words in runs]
    return 1 if any(ended) else 0


if __name__ == "__main__":
    sys.exit(main())
