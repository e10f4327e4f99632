"""Build the fuzzing target: with libFuzzer and the sanitizers, or as a module for the tests.

    python tests/fuzz/build.py fuzzer     build/fuzz/target/fuzzer/fuzz, an executable
    python tests/fuzz/build.py module     build/fuzz/target/module/target.*.so

There are two: `target` for the comparator and `link_target` for the link of two hosts. Each has code of
its own in it: target.pyx is joined with the sources of the core, link_target.pyx with those of the link,
as these are for use (join_sources.py). The fuzzer's is instrumented: edges for libFuzzer, addresses and
undefined behaviour for the sanitizers.
"""

import hashlib
import importlib
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT))

import join_sources  # noqa: E402

BUILD = ROOT / "build" / "fuzz"
DIRECTIVES = (
    "language_level=3",
    "boundscheck=False",
    "wraparound=False",
    "cdivision=True",
    "initializedcheck=False",
)
CHECKS = "address,undefined"
FLAGS = (
    "-g1",
    "-fno-strict-aliasing",
    "-fno-omit-frame-pointer",
    "-fPIC",
    "-w",
    f"-I{sysconfig.get_path('include')}",
)


class MissingToolError(Exception):
    """A tool that building needs is not there; the message says which, and where to get it."""


def clang() -> str:
    """The compiler with libFuzzer. Raises MissingToolError where there is none."""
    found = next(
        (path for name in ("clang", "clang-14", "clang-16", "clang-19") if (path := shutil.which(name))), None
    )
    if found is None:
        raise MissingToolError("fuzzing needs clang (Debian: apt install clang libclang-rt-14-dev)")
    probe = BUILD / "probe.c"
    probe.parent.mkdir(parents=True, exist_ok=True)
    probe.write_text("int LLVMFuzzerTestOneInput(const char *d, long n) { return d && n < 0; }\n")
    tried = run(found, f"-fsanitize=fuzzer,{CHECKS}", probe, "-o", probe.with_suffix(""), check=False)
    if tried.returncode:
        raise MissingToolError(
            f"{found} cannot link libFuzzer (Debian: apt install libclang-rt-14-dev): {tried.stderr[-300:]}"
        )
    return found


def run(*command: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([str(word) for word in command], check=False, capture_output=True, text=True)
    if check and done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done


class Target(NamedTuple):
    """A .pyx of this directory, and the files of the data path that it is joined with."""

    name: str
    folders: tuple[str, ...]
    more: tuple[Path, ...] = ()

    @property
    def directory(self) -> Path:
        """Where what is made for it lies."""
        return BUILD / self.name


COMPARATOR = Target("target", ("core",))
LINK = Target(
    "link_target",
    ("link",),
    tuple(
        ROOT / "colo_proxy" / each
        for each in ("core/atomic", "core/packet/parse", "core/packet/seq", "engine/kernel")
    ),
)


def fingerprint(target: Target) -> str:
    """Of all that a build depends on."""
    digest = hashlib.sha256(sys.version.encode())
    digest.update(joined(target).encode())
    digest.update(Path(__file__).read_bytes())
    return digest.hexdigest()


def joined(target: Target) -> str:
    """The target's sources, as one."""
    return join_sources.joined(join_sources.sources(ROOT, target.folders, [*target.more, HERE / target.name]))


def translated(target: Target, into: Path) -> Path:
    """Translate them to C in this directory."""
    into.mkdir(parents=True, exist_ok=True)
    source, code = into / f"{target.name}.pyx", into / f"{target.name}.c"
    source.write_text(joined(target))
    directives = [word for each in DIRECTIVES for word in ("-X", each)]
    run(sys.executable, "-m", "cython", *directives, source, "-o", code)
    return code


def extension_suffix() -> str:
    return str(sysconfig.get_config_var("EXT_SUFFIX"))


def build_module(target: Target = COMPARATOR) -> Path:
    """The plain module. Returns the directory it lies in."""
    into = target.directory / "module"
    stamp = into / "stamp"
    if not stamp.exists() or stamp.read_text() != fingerprint(target):
        code = translated(target, into)
        compiler = os.environ.get("CC", "cc").split()
        run(*compiler, "-O1", *FLAGS, "-shared", code, "-o", into / f"{target.name}{extension_suffix()}")
        stamp.write_text(fingerprint(target))
    return into


def load_module(target: Target = COMPARATOR) -> ModuleType:
    """The plain module, built if it must be, and imported."""
    sys.path.insert(0, str(build_module(target)))
    return importlib.import_module(target.name)


def build_fuzzer(target: Target = COMPARATOR) -> Path:
    """The executable. Returns its path."""
    compiler = clang()
    into = target.directory / "fuzzer"
    stamp = into / "stamp"
    if stamp.exists() and stamp.read_text() == fingerprint(target):
        return into / "fuzz"
    shutil.rmtree(into, ignore_errors=True)
    code = translated(target, into)
    library = sysconfig.get_config_var("LIBDIR")
    run(compiler, "-O1", *FLAGS, f"-fsanitize=fuzzer,{CHECKS}", "-fno-sanitize-recover=all",
        code, f"-L{library}", f"-Wl,-rpath,{library}", f"-lpython{sysconfig.get_config_var('LDVERSION')}",
        "-o", into / "fuzz")  # fmt: skip
    stamp.write_text(fingerprint(target))
    return into / "fuzz"


def environment() -> dict[str, str]:
    """What the executable needs around it."""
    return {
        **os.environ,
        "PYTHONHOME": sys.base_prefix,
        "PYTHONPATH": str(ROOT),
        "PYTHONMALLOC": "malloc",
        # Leaks are counted by the target itself, exactly; Python's own at exit are none of ours.
        "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }


if __name__ == "__main__":
    try:
        print(build_fuzzer() if sys.argv[1:] == ["fuzzer"] else build_module())
    except MissingToolError as error:
        raise SystemExit(str(error)) from None
