"""What Python uses of the compiled digests.pyx."""

from colo_proxy.compiled import digest_of

__all__ = ["digest_of"]
