"""The same frames to QEMU's own colo-compare and to ours: what each releases, holds and asks for.

`python -m tests.peers.table` writes docs/peers.md.
"""
