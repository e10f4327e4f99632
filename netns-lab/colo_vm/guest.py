"""The guest: Debian's cloud kernel, busybox, and an /init that serves HTTP two seconds after power-on.

What it serves, at http://192.0.2.2/ and http://[2001:db8::2]/:

- `/tiny` (6 bytes), `/1k`, `/64k`, `/1m`, `/16m`, `/64m`: files whose bytes are the same at each boot
  and differ at each position of 1 MiB, so that their hash tells misplaced data (`contents`);
- `/cgi-bin/clock`: the guest's clock in nanoseconds, different in PVM and SVM at each request;
- `/cgi-bin/clocks?N`: N lines of it;
- `/cgi-bin/fetch?URL`: the guest opens a connection of its own, fetches URL, and answers with the
  SHA-256 of what came.
"""

import hashlib
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .debian import CACHE, depends, need, say, unpack

ADDRESS, ADDRESS6, MAC = "192.0.2.2", "2001:db8::2", "52:54:00:00:00:02"
SIZES = {"tiny": 6, "1k": 1 << 10, "64k": 1 << 16, "1m": 1 << 20, "16m": 1 << 24, "64m": 1 << 26}
APPEND = "console=ttyS0 panic=1 quiet tsc=unstable clocksource=acpi_pm"

# In the order they must be loaded.
MODULES = [
    *("virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci"),
    *("failover", "net_failover", "virtio_net"),
]

_BLOCK = 1 << 20
_HEAD = 16  # bytes of a block's own number at its start

_INIT = f"""#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev && mount -t proc proc /proc && mount -t sysfs sys /sys
exec </dev/console >/dev/console 2>&1
for module in {" ".join(MODULES)}; do insmod /modules/$module.ko; done
ip link set lo up
ip link set eth0 up
ip address add {ADDRESS}/24 dev eth0
echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad
ip -6 address add {ADDRESS6}/64 dev eth0
# httpd listens with a backlog of 9. Who comes beyond it must try again: a connection that the kernel keeps in
# a SYN cookie alone is reset where a client's answer to a second SYN/ACK comes before its request is taken.
echo 0 >/proc/sys/net/ipv4/tcp_syncookies

# The 64 MiB file is the block again and again, each time after its own number; the others are its beginning.
mount -t tmpfs -o size=100m tmpfs /www
mkdir /www/cgi-bin && cp /cgi/* /www/cgi-bin/
i=0
while [ $i -lt 64 ]; do printf 'block %09d\\n' $i; cat /block; i=$((i + 1)); done >/www/64m
head -c 16777216 /www/64m >/www/16m
head -c 1048576 /www/64m >/www/1m
head -c 65536 /www/64m >/www/64k
head -c 1024 /www/64m >/www/1k
head -c 6 /www/64m >/www/tiny

httpd -p 80 -h /www
echo GUEST READY
while true; do sleep 3600; done
"""

_CGI = {
    # "now at N nsecs": the kernel's monotonic clock, read without any helper program.
    "clock": """#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
while read -r a b c d; do [ "$a $b" = "now at" ] && echo $c && break; done </proc/timer_list
""",
    "clocks": """#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
i=0
while [ $i -lt "$QUERY_STRING" ]; do
  while read -r a b c d; do [ "$a $b" = "now at" ] && echo $i $c && break; done </proc/timer_list
  i=$((i + 1))
done
""",
    "fetch": """#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
wget -q -O - "$QUERY_STRING" | sha256sum | cut -d' ' -f1
""",
}


class Guest(NamedTuple):
    """What QEMU boots."""

    kernel: Path
    initramfs: Path


def _block() -> bytes:
    return random.Random(2026).randbytes(_BLOCK - _HEAD)


def contents(name: str) -> Iterator[bytes]:
    """The bytes of a file the guest serves, in pieces of at most 1 MiB."""
    left, block = SIZES[name], _block()
    for number in range(64):
        piece = (b"block %09d\n" % number + block)[:left]
        if piece:
            yield piece
        left -= len(piece)


def sha256(name: str) -> str:
    """The SHA-256, in hex, of a file the guest serves."""
    digest = hashlib.sha256()
    for piece in contents(name):
        digest.update(piece)
    return digest.hexdigest()


def _cpio(files: dict[str, tuple[int, bytes]]) -> bytes:
    """A cpio archive in the `newc` format, as the kernel takes it for an initramfs.

    Layout (Linux Documentation/driver-api/early-userspace/buffer-format.rst): "070701", thirteen
    8-digit hex fields, the name with its NUL, padding to 4, the data, padding to 4.
    """
    out = bytearray()
    for inode, (name, (mode, data)) in enumerate([*files.items(), ("TRAILER!!!", (0, b""))], 1):
        encoded = name.encode() + b"\0"
        fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
        out += b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
        out += bytes(-len(out) % 4) + data
        out += bytes(-len(out) % 4)
    return bytes(out)


def build() -> Guest:
    """Build kernel and initramfs into the cache, or find them there. Raises `LabError`."""
    home = CACHE / "guest"
    guest = Guest(home / "vmlinuz", home / "initramfs")
    parts = home / "parts"
    if not guest.kernel.exists() or not parts.exists():
        need("apt-get", "dpkg-deb")
        say("guest: downloading Debian's cloud kernel and busybox")
        shutil.rmtree(parts, ignore_errors=True)
        image = next(p for p in depends("linux-image-cloud-amd64") if p.startswith("linux-image-"))
        unpack(image, parts)
        unpack("busybox-static", parts)
        shutil.copy(next((parts / "boot").glob("vmlinuz-*")), guest.kernel)
        say(f"guest: kernel {image}")
    executable, directory = 0o100755, 0o040755
    modules = {path.stem: path for path in (parts / "lib" / "modules").rglob("*.ko")}
    empty = ("bin", "dev", "proc", "sys", "tmp", "www", "cgi", "modules")
    files: dict[str, tuple[int, bytes]] = dict.fromkeys(empty, (directory, b""))
    files["init"] = (executable, _INIT.encode())
    files["block"] = (0o100644, _block())
    files["bin/busybox"] = (executable, (parts / "bin" / "busybox").read_bytes())
    files |= {f"modules/{name}.ko": (0o100644, modules[name].read_bytes()) for name in MODULES}
    files |= {f"cgi/{name}": (executable, text.encode()) for name, text in _CGI.items()}
    archive = _cpio(files)
    if not guest.initramfs.exists() or guest.initramfs.read_bytes() != archive:
        scratch = guest.initramfs.with_suffix(f".{os.getpid()}")
        scratch.write_bytes(archive)
        scratch.rename(guest.initramfs)
    return guest
