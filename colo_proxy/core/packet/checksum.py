"""What Python uses of the compiled checksum.pyx."""

from colo_proxy.compiled import rewritten

__all__ = ["rewritten"]
