"""A checkout whose data path was never compiled: one line that says what to do."""

import subprocess
import sys

WITHOUT = """
import sys
sys.modules["colo_proxy.compiled"] = None
from colo_proxy.cli.main import main
sys.exit(main(["compare", "pvm.pcap", "svm.pcap"]))
"""


def test_a_data_path_that_is_not_compiled_is_reported_in_one_line() -> None:
    run = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr.startswith("colo-proxy: the data path is not compiled: run make build")
    assert run.stderr.count("\n") == 1
