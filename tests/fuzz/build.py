"""Build the fuzzing target: with libFuzzer and the sanitizers, or as a module for the tests.

    python tests/fuzz/build.py fuzzer     build/fuzz/fuzzer/fuzz, an executable
    python tests/fuzz/build.py module     build/fuzz/module/target.*.so

Either has a comparator of its own in it: target.pyx is joined with the sources of the core, as these are for
use (join_sources.py). The fuzzer's is instrumented: edges for libFuzzer, addresses and undefined behaviour
for the sanitizers.
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


def fingerprint() -> str:
    """Of all that a build depends on."""
    digest = hashlib.sha256(sys.version.encode())
    digest.update(joined().encode())
    digest.update(Path(__file__).read_bytes())
    return digest.hexdigest()


def joined() -> str:
    """The core's sources and the target's, as one."""
    return join_sources.joined(join_sources.sources(ROOT, ["core"], [HERE / "target"]))


def translated(into: Path) -> Path:
    """Translate them to C in this directory."""
    into.mkdir(parents=True, exist_ok=True)
    source, code = into / "target.pyx", into / "target.c"
    source.write_text(joined())
    directives = [word for each in DIRECTIVES for word in ("-X", each)]
    run(sys.executable, "-m", "cython", *directives, source, "-o", code)
    return code


def extension_suffix() -> str:
    return str(sysconfig.get_config_var("EXT_SUFFIX"))


def build_module() -> Path:
    """The plain module. Returns the directory it lies in."""
    into = BUILD / "module"
    stamp = into / "stamp"
    if not stamp.exists() or stamp.read_text() != fingerprint():
        code = translated(into)
        compiler = os.environ.get("CC", "cc")
        run(compiler, "-O1", *FLAGS, "-shared", code, "-o", into / f"target{extension_suffix()}")
        stamp.write_text(fingerprint())
    return into


def load_module() -> ModuleType:
    """The plain module, built if it must be, and imported."""
    sys.path.insert(0, str(build_module()))
    return importlib.import_module("target")


def build_fuzzer() -> Path:
    """The executable. Returns its path."""
    compiler = clang()
    into = BUILD / "fuzzer"
    stamp = into / "stamp"
    if stamp.exists() and stamp.read_text() == fingerprint():
        return into / "fuzz"
    shutil.rmtree(into, ignore_errors=True)
    code = translated(into)
    library = sysconfig.get_config_var("LIBDIR")
    run(compiler, "-O1", *FLAGS, f"-fsanitize=fuzzer,{CHECKS}", "-fno-sanitize-recover=all",
        code, f"-L{library}", f"-Wl,-rpath,{library}", f"-lpython{sysconfig.get_config_var('LDVERSION')}",
        "-o", into / "fuzz")  # fmt: skip
    stamp.write_text(fingerprint())
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
