"""Compile the data path: every .pyx below colo_proxy/ becomes one extension module.

Everything else about the package is in pyproject.toml. CFLAGS and LDFLAGS reach the
compiler as usual. All processors that this process may use translate and compile.
"""

import itertools
import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

DIRECTIVES = {
    "language_level": 3,
    # Hostile bytes are checked by hand, in core/packet/parse.pyx; see docs/architecture.md.
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
}


class BuildExt(build_ext):
    """Translates and compiles files side by side, reports how far it is, and compiles nothing twice."""

    def finalize_options(self) -> None:
        processors = len(os.sched_getaffinity(0))
        self.parallel = self.parallel or processors
        self.distribution.ext_modules = cythonize(
            self.distribution.ext_modules,
            nthreads=processors,
            compiler_directives=DIRECTIVES,
            show_all_warnings=False,
        )
        super().finalize_options()

    def run(self) -> None:
        if self.inplace:
            # pip names other directories for each editable install, in which nothing is up to date.
            self.build_lib, self.build_temp = "build/inplace", "build/objects"
        self.count = itertools.count(1)
        super().run()

    def build_extension(self, ext: Extension) -> None:
        super().build_extension(ext)
        print(f"[{next(self.count):2}/{len(self.extensions)}] {ext.name} is compiled\n", end="", flush=True)


extensions = [
    Extension(
        ".".join(path.with_suffix("").parts),
        [str(path)],
        # -g1 keeps function names for profilers and sanitizers at a small cost in size.
        extra_compile_args=["-O2", "-g1", "-fno-strict-aliasing"],
    )
    for path in sorted(Path("colo_proxy").rglob("*.pyx"))
]

if __name__ == "__main__":  # not in the processes that translate
    setup(cmdclass={"build_ext": BuildExt}, ext_modules=extensions)
