"""Compile the data path: all .pyx below colo_proxy/ become one extension module, colo_proxy.compiled.

Everything else about the package is in pyproject.toml. CFLAGS and LDFLAGS reach the compiler as usual.
"""

import os
import sys
from pathlib import Path
from typing import cast

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build import SubCommand, build
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT))

import join_sources  # noqa: E402

DIRECTIVES = {
    "language_level": 3,
    # Hostile bytes are checked by hand, in core/packet/parse.pyx; see docs/architecture.md.
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
}
OPTIMIZE = [] if "-O" in os.environ.get("CFLAGS", "") else ["-O3"]  # CFLAGS=-O1 compiles faster
JOINED = Path("build", "joined", join_sources.PACKAGE, "compiled.pyx")


class BuildExt(build_ext):
    """Joins the sources, translates them if they have changed, and compiles nothing twice."""

    def finalize_options(self) -> None:
        join_sources.write(JOINED, join_sources.sources(ROOT.resolve()))
        self.distribution.ext_modules = cythonize(
            self.distribution.ext_modules, compiler_directives=DIRECTIVES, show_all_warnings=False
        )
        super().finalize_options()

    def run(self) -> None:
        if self.inplace:
            # pip names other directories for each editable install, in which nothing is up to date.
            self.build_lib, self.build_temp = "build/inplace", "build/objects"
        super().run()
        self.remove_left_behind()

    def build_extensions(self) -> None:
        try:
            super().build_extensions()
        except CompileError as error:
            raise CompileError(
                f"{error}. colo-proxy's data path is compiled: this needs a C compiler and Python's headers "
                "(Debian: apt install gcc python3-dev)"
            ) from None

    def remove_left_behind(self) -> None:
        """A compiled file of an earlier version, which had one for each .pyx, would be imported instead."""
        for folder in join_sources.FOLDERS:
            for path in (ROOT / join_sources.PACKAGE / folder).rglob("*.so"):
                path.unlink()


class Build(build):
    """Removes what earlier versions left in `build_lib`: all that stands there becomes part of a wheel."""

    def run(self) -> None:
        super().run()
        commands = [cast("SubCommand", self.get_finalized_command(name)) for name in self.get_sub_commands()]
        made = {Path(path).resolve() for command in commands for path in command.get_outputs()}
        for path in Path(self.build_lib).rglob("*"):
            if path.is_file() and path.resolve() not in made:
                path.unlink()


extensions = [
    Extension(
        f"{join_sources.PACKAGE}.compiled",
        [str(JOINED)],
        # -g1 keeps function names for profilers and sanitizers at a small cost in size. Long texts are cut
        # off by snprintf, as they should be.
        extra_compile_args=[*OPTIMIZE, "-g1", "-fno-strict-aliasing", "-Wno-format-truncation"],
    )
]

if __name__ == "__main__":  # not in a process that only imports it
    setup(cmdclass={"build": Build, "build_ext": BuildExt}, ext_modules=extensions)
