"""Compile the data path: every .pyx below colo_proxy/ becomes one extension module.

Everything else about the package is in pyproject.toml. CFLAGS and LDFLAGS reach the
compiler as usual.
"""

from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

extensions = [
    Extension(
        ".".join(path.with_suffix("").parts),
        [str(path)],
        # -g1 keeps function names for profilers and sanitizers at a small cost in size.
        extra_compile_args=["-O2", "-g1", "-fno-strict-aliasing"],
    )
    for path in sorted(Path("colo_proxy").rglob("*.pyx"))
]

setup(
    ext_modules=cythonize(
        extensions,
        compiler_directives={
            "language_level": 3,
            "boundscheck": False,  # hostile bytes are checked by hand, in wire.pyx; see docs/architecture.md
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
        },
        show_all_warnings=False,
    )
)
