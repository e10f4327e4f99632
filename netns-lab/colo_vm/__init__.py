"""A real QEMU COLO pair for the lab: guest, QEMU, network and both VMs, built from Debian packages.

Nothing is installed on the host beyond the tools named in `debian.need`; everything built
is kept in `.cache/vm/` and used again.
"""
