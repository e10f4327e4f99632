"""What is asked of a store of the right to speak, whatever it is."""

from typing import Protocol

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
