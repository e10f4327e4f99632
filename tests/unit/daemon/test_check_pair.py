"""`colo-proxy check` of a host of two: certificates, the disk, the arbiter; each problem with its remedy."""

import datetime
import re
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.etcd import certificates, needs_etcd, three_members

from colo_proxy import config
from colo_proxy.config import TwoHosts
from colo_proxy.daemon import check_pair
from colo_proxy.daemon.check import problems
from colo_proxy.daemon.check_certificates import certificate_problems
from colo_proxy.daemon.check_pair import mounted, pair_problems
from colo_proxy.pair.directory import Directory

NEW = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30")


def openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


def sign(folder: Path, name: str, *more: str, names: str = "DNS:a") -> None:
    """A certificate that `ca` has signed."""
    signed = ("-CA", "ca.crt", "-CAkey", "ca.key", "-subj", f"/CN={name}")
    extension = ("-addext", f"subjectAltName={names}")
    openssl(folder, *NEW, "-keyout", f"{name}.key", "-out", f"{name}.crt", *signed, *extension, *more)
    (folder / f"{name}.key").chmod(0o600)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and a certificate `good` for the host `a`."""
    folder = tmp_path_factory.mktemp("keys")
    openssl(folder, *NEW, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=authority")
    sign(folder, "good")
    return folder


def found(folder: Path, certificate: str, *, key: str = "", authority: str = "ca.crt") -> list[str]:
    """The problems of a certificate of the host `a`, without the folder."""
    files = [f"{folder}/{name}" for name in (f"{certificate}.crt", key or f"{certificate}.key", authority)]
    lines = certificate_problems("[pair]", *files, host="a", other="b")
    return [str(problem).replace(f"{folder}/", "") for problem in lines]


def test_a_good_certificate(keys: Path) -> None:
    assert found(keys, "good") == []


def test_a_certificate_by_an_intermediate_authority(keys: Path) -> None:
    more = ("-subj", "/CN=between", "-addext", "basicConstraints=critical,CA:TRUE")
    openssl(keys, *NEW, "-keyout", "mid.key", "-out", "mid.crt", "-CA", "ca.crt", "-CAkey", "ca.key", *more)
    signed = ("-CA", "mid.crt", "-CAkey", "mid.key", "-subj", "/CN=a", "-addext", "subjectAltName=DNS:a")
    openssl(keys, *NEW, "-keyout", "leaf.key", "-out", "leaf.crt", *signed)
    (keys / "leaf.key").chmod(0o600)
    (line,) = found(keys, "leaf")
    assert "name the authority that has signed it" in line
    (keys / "both.crt").write_text((keys / "mid.crt").read_text() + (keys / "ca.crt").read_text())
    assert found(keys, "leaf", authority="both.crt") == []


def test_each_wrong_certificate_is_named(keys: Path) -> None:
    sign(keys, "other", names="DNS:b")
    assert found(keys, "other") == [
        "error: [pair] certificate other.crt: it is not for the name 'a'; "
        "have it signed with that name (subjectAltName)"
    ]
    sign(keys, "both", names="DNS:a,DNS:b")
    assert found(keys, "both") == [
        "warning: [pair] certificate both.crt: it is for the name 'b' too: who has it can pose as either "
        "host; give each host a certificate of its own"
    ]
    sign(keys, "server", "-addext", "extendedKeyUsage=serverAuth")
    (line,) = found(keys, "server")
    assert line.endswith("have it signed for both server and client authentication")
    sign(keys, "soon", "-days", "3")
    (line,) = found(keys, "soon")
    assert line.startswith("warning: [pair] certificate soon.crt: it ends in 2 days, on 20")
    signed = ("-CA", "ca.crt", "-CAkey", "ca.key", "-subj", "/CN=a")
    openssl(keys, *NEW, "-keyout", "common.key", "-out", "common.crt", *signed)
    (keys / "common.key").chmod(0o600)
    (line,) = found(keys, "common")
    assert "it is for no DNS name, not for a; issue one with subjectAltName=DNS:a" in line, (
        "as the link judges"
    )
    openssl(keys, *NEW, "-keyout", "own.key", "-out", "own.crt", "-subj", "/CN=a")
    (keys / "own.key").chmod(0o600)
    (line,) = found(keys, "own")
    assert line.startswith("error: [pair] certificate own.crt: self-signed certificate; name the authority")


def test_a_certificate_of_another_time(keys: Path) -> None:
    days = [("past", -9, -2, "certificate has expired; renew it")]
    days += [("future", 2, 9, "certificate is not yet valid; correct this host's clock")]
    now = datetime.datetime.now(datetime.UTC)
    for name, begin, end, said in days:
        openssl(keys, "req", "-new", "-key", "good.key", "-out", "a.csr", "-subj", "/CN=a")
        (keys / "ca.cnf").write_text(
            "[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\n"
            "policy=p\n[p]\ncommonName=supplied\n[e]\nsubjectAltName=DNS:a\n"
        )
        (keys / "index").write_text("")
        (keys / "serial").write_text("01\n")
        dates = [f"{now + datetime.timedelta(days=day):%y%m%d%H%M%SZ}" for day in (begin, end)]
        words = ("-config", "ca.cnf", "-cert", "ca.crt", "-keyfile", "ca.key", "-extensions", "e", "-batch")
        openssl(
            keys, "ca", *words, "-startdate", dates[0], "-enddate", dates[1], "-in", "a.csr", "-out", name
        )
        (keys / name).rename(keys / f"{name}.crt")
        (line,) = found(keys, name, key="good.key")
        assert line.startswith(f"error: [pair] certificate {name}.crt: {said}")
        alone = certificate_problems("[arbiter]", f"{keys}/{name}.crt", f"{keys}/good.key", f"{keys}/ca.crt")
        assert [problem.what for problem in alone] == [said.partition(";")[0]], "for etcd, too"


def test_each_wrong_file_is_named(keys: Path) -> None:
    assert found(keys, "absent")[0].startswith(
        "error: [pair] certificate absent.crt: cannot be read: No such file or directory; correct"
    )
    assert len(found(keys, "absent", authority="absent")) == 3
    sign(keys, "another")
    assert found(keys, "good", key="another.key") == [
        f"error: [pair] certificate good.crt: {keys}/another.key is not its key; "
        "give the key that belongs to it".replace(f"{keys}/", "")
    ]
    (keys / "good.key").chmod(0o640)
    assert found(keys, "good") == [
        "error: [pair] key good.key: other users can read it (mode 640); chmod 600 good.key"
    ]
    (keys / "good.key").chmod(0o600)
    (keys / "text").write_text("no certificate")
    (keys / "text").chmod(0o600)
    assert found(keys, "good", key="text") == [
        "error: [pair] certificate good.crt: it or its key is no PEM file without a password; convert them"
    ]
    assert found(keys, "good", authority="text") == [
        "error: [pair] authority text: there is no certificate in it; give a PEM file"
    ]
    openssl(keys, "ec", "-in", "good.key", "-aes128", "-passout", "pass:secret", "-out", "locked.key")
    (keys / "locked.key").chmod(0o600)
    assert "without a password" in found(keys, "good", key="locked.key")[0]


# ---- the arbiter and the disk


def two_hosts(folder: Path, arbiter: str) -> TwoHosts:
    """A configuration of two hosts whose directories are in `folder`."""
    text = (
        '[pair]\nhost = "a"\npeer_host = "b"\nlisten = "127.0.0.1:9310"\npeer = "192.0.2.2:9310"\n'
        f'insecure = true\nstate_dir = "{folder}/state"\n{arbiter}'
        '[[nic]]\nuplink = "unix:/u"\nvm = "unix:/v"\n'
    )
    two = config.parse(text, folder / "web1.toml").two_hosts
    assert two is not None
    return two


def told(two: TwoHosts) -> list[str]:
    """The problems, but that the link is insecure."""
    return [str(each) for each in pair_problems(two, "web1") if "[pair] insecure" not in str(each)]


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that passes for one on a disk, shared by both hosts."""
    (tmp_path / "state").mkdir()
    (tmp_path / "shared").mkdir()
    monkeypatch.setattr(check_pair, "mount", lambda path: ("nfs4", frozenset(("noac", "lookupcache=none"))))
    return tmp_path


def directory(folder: Path) -> TwoHosts:
    return two_hosts(folder, f'[arbiter]\nkind = "directory"\npath = "{folder}/shared"\n')


def test_a_directory_swaps_what_is_not_the_record(disk: Path) -> None:
    for _ in range(3):
        assert told(directory(disk)) == []
    assert [path.name for path in (disk / "shared").iterdir()] == ["check.a"]
    assert len(list((disk / "shared" / "check.a").glob("right.*"))) <= 2, "older ones are removed"
    record = Directory(f"{disk}/shared/check.a").read()
    assert record is not None
    assert record.g == 3


def test_a_directory_that_is_not_there_is_not_made(disk: Path) -> None:
    (disk / "shared").rmdir()
    (line,) = told(directory(disk))
    assert line.startswith(f"error: [arbiter] path {disk}/shared: it does not swap a record: ")
    assert "No such file or directory" in line
    assert not (disk / "shared").exists()


@pytest.mark.parametrize(
    ("mount", "said"),
    [
        (("nfs4", ("noac",)), "error: .*NFS is mounted without lookupcache=none: .* on both hosts"),
        (("nfs", ()), "error: .*NFS is mounted without noac and lookupcache=none: "),
        (("ext4", ()), r"warning: .*it is on a file system of this host \(ext4\)"),
    ],
)
def test_how_it_is_mounted(
    disk: Path, mount: tuple[str, tuple[str, ...]], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_pair, "mount", lambda path: (mount[0], frozenset(mount[1])))
    (problem,) = told(directory(disk))
    assert re.match(said, problem)


def test_the_mount_is_found_by_its_number() -> None:
    table = (
        "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro\n"
        "32 21 0:40 / /srv/a\\040b rw,noatime shared:2 master:3 - nfs4 s:/x rw,noac,lookupcache=none,hard\n"
    )
    kind, options = mounted(table, "32")
    assert kind == "nfs4"
    assert {"noatime", "noac", "lookupcache=none", "hard"} <= options
    assert mounted(table, "3") == ("", frozenset())
    kind, options = check_pair.mount("/proc")
    assert kind == "proc"
    assert options & {"rw", "ro"}


def test_the_state_is_on_a_disk(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        check_pair, "mount", lambda path: ("tmpfs" if path.endswith("state") else "nfs9", frozenset())
    )
    (line,) = told(directory(disk))
    assert "which a reboot empties" in line
    monkeypatch.setattr(check_pair, "mount", lambda path: ("nfs9", frozenset()))
    (disk / "state" / "note").write_text("{}")
    (line,) = told(directory(disk))
    assert line.startswith(
        f"error: [pair] state_dir {disk}/state: it is not a note of the right to speak; restore"
    )
    (disk / "state" / "note").unlink()
    (disk / "state").rmdir()
    (line,) = told(directory(disk))
    assert line == (
        f"error: [pair] state_dir {disk}/state: there is no such directory; mkdir -p -m 700 {disk}/state"
    )


def test_members_of_etcd_that_do_not_answer_are_named(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_pair, "_WITHIN_S", 1.0)
    endpoints = '["http://127.0.0.1:1", "http://127.0.0.1:2"]'
    few, first, second = told(two_hosts(disk, f'[arbiter]\nkind = "etcd"\nendpoints = {endpoints}\n'))
    assert few.startswith("warning: [arbiter] endpoints: two members of etcd are worse than one")
    assert first.startswith("error: [arbiter] http://127.0.0.1:1: it does not swap a key: ")
    assert second.startswith("error: [arbiter] http://127.0.0.1:2: it does not swap a key: ")


def test_what_is_not_encrypted_is_named(disk: Path) -> None:
    two = two_hosts(disk, '[arbiter]\nkind = "etcd"\nendpoints = ["http://192.0.2.9:1", "http://[::1]:1"]\n')
    lines = [str(problem) for problem in check_pair._members(two.arbiter)]
    assert len([line for line in lines if "is not encrypted" in line]) == 1
    assert "[pair] insecure: the link is plain TCP" in str(next(pair_problems(two, "web1")))


@needs_etcd
@pytest.mark.timeout(600)
def test_etcd_swaps_what_is_not_the_record(disk: Path) -> None:
    certificates(disk)
    (disk / "host.key").chmod(0o600)
    with ExitStack() as stack:
        cluster = three_members(disk, stack)
        endpoints = ", ".join(f'"{endpoint}"' for endpoint in cluster.endpoints)
        files = f'certificate = "{disk}/host.crt"\nkey = "{disk}/host.key"\nauthority = "{disk}/ca.crt"\n'
        two = two_hosts(disk, f'[arbiter]\nkind = "etcd"\nendpoints = [{endpoints}]\n{files}')
        while any(line.startswith("error") for line in told(two)):
            pass  # they elect a leader
        lines = told(two)
        assert [line for line in lines if "does not swap" in line] == []
        assert [line.partition(": it ends")[0] for line in lines] == [
            f"warning: [arbiter] certificate {disk}/host.crt"
        ]
        assert cluster.member(0).read() is None, "the record is not touched"
        cluster.kill(1)
        (line,) = [line for line in told(two) if "does not swap" in line]
        assert line.startswith(f"warning: [arbiter] {cluster.endpoints[1]}: it does not swap a key: ")


def test_the_ports_and_sockets_of_a_host_of_two_are_checked(tmp_path: Path) -> None:
    text = (
        f'[proxy]\ncontrol = "{tmp_path}/c.sock"\nmetrics = ""\n'
        '[pair]\nhost = "a"\npeer_host = "b"\nlisten = "192.0.2.1:9310"\npeer = "192.0.2.2:9310"\n'
        f'insecure = true\nstate_dir = "{tmp_path}"\n'
        f'[arbiter]\nkind = "directory"\npath = "{tmp_path}/shared"\n'
        f'[[nic]]\nuplink = "unix:{tmp_path}/u"\ncarrier = "nowhere0"\nvm = "packet:nowhere1"\n'
        f'vnet_hdr = true\n[checkpoint]\nvmm = "qmp"\nvm = "unix:{tmp_path}/qmp"\n'
    )
    lines = [str(problem) for problem in problems(config.parse(text, tmp_path / "web1.toml"))]
    for said in (
        "[[nic]] 0 carrier nowhere0: there is no such interface",
        "[[nic]] 0 vm packet:nowhere1: there is no such interface",
        f"[checkpoint] vm unix:{tmp_path}/qmp: there is no such socket yet",
        "[pair] listen 192.0.2.1: nothing can listen on it: Cannot assign requested address",
        f"[arbiter] path {tmp_path}/shared: it does not swap a record",
        "[pair] insecure: the link is plain TCP",
    ):
        assert any(said in line for line in lines), (said, lines)
