"""How the package is built."""

import runpy
from pathlib import Path

import pytest
from setuptools import Distribution

SETUP = Path(__file__).parents[2] / "setup.py"


def test_a_wheel_has_nothing_of_an_earlier_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upgrade from the same clone finds what was built there before."""
    monkeypatch.chdir(tmp_path)
    package, built = tmp_path / "thing", tmp_path / "lib"
    package.mkdir()
    for name in ("__init__.py", "kept.py", "py.typed"):
        (package / name).touch()
    gone = [built / "thing" / "gone.py", built / "thing" / "old" / "gone.cpython-311-x86_64-linux-gnu.so"]
    for path in gone:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    project = Distribution(
        {
            "script_name": "setup.py",
            "packages": ["thing"],
            "package_data": {"thing": ["py.typed"]},
            "cmdclass": {"build": runpy.run_path(str(SETUP), run_name="setup")["Build"]},
        }
    )
    build = project.get_command_obj("build")
    build.build_lib = str(built)
    for _ in range(2):
        project.run_command("build")
        found = {path.name for path in built.rglob("*") if path.is_file()}
        assert found == {"__init__.py", "kept.py", "py.typed"}
