"""What is asked of a store of the right to speak, whatever it is, and where it is found."""

from typing import NamedTuple, Protocol

from colo_proxy.pair.record import Record


class StoreError(Exception):
    """The store has not answered, or not with a record; what it holds is unknown. For an operator."""


class Store(Protocol):
    """Holds one record. Both calls block, and raise StoreError."""

    def read(self) -> Record | None:
        """What it holds now, past all caches; None: nothing."""

    def swap(self, expect: Record | None, new: Record) -> Record | None:
        """Put `new` in the place of `expect`, if it holds exactly that; returns what it then holds.

        The caller has won if that bears its nonce. After a StoreError the swap may have been made, or may be
        made later.
        """

    def close(self) -> None:
        """Let go of connections. The next call makes new ones."""


class EtcdPlace(NamedTuple):
    """One member of an etcd cluster, and the record's key there. The three paths are for https."""

    endpoint: str
    record: str
    certificate: str = ""
    key: str = ""
    authority: str = ""


class DirectoryPlace(NamedTuple):
    """A directory that both hosts share.

    With `root`, what is missing of it below `root` is made; `root` itself must be there. With `scratch`, all
    generations but the highest are removed first: it holds no right.
    """

    path: str
    root: str = ""
    scratch: bool = False


Place = EtcdPlace | DirectoryPlace
