"""Who may use a UNIX socket that is listened on."""

import grp
import os
import stat
from pathlib import Path

import pytest

from colo_proxy.endpoints import Unix
from colo_proxy.errors import HostError
from colo_proxy.host.listening import listen


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o640])
def test_group_and_mode(tmp_path: Path, mode: int) -> None:
    group = grp.getgrgid(os.getgroups()[-1] if os.getuid() else 1)
    with listen(Unix(str(tmp_path / "s")), group.gr_name, mode):
        seen = (tmp_path / "s").stat()
        assert (seen.st_gid, stat.S_IMODE(seen.st_mode)) == (group.gr_gid, mode)


def test_a_group_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="s: there is no group 'no-such-group'; create it, or name another"):
        listen(Unix(str(tmp_path / "s")), "no-such-group")
    assert not list(tmp_path.iterdir())
