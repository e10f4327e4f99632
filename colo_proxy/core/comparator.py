"""What Python uses of the compiled comparator.pyx."""

from colo_proxy.compiled import Comparator

__all__ = ["Comparator"]
