"""What Python uses of the compiled fragments.pyx."""

from colo_proxy.compiled import Reassembler

__all__ = ["Reassembler"]
