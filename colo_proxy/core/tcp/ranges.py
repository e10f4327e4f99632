"""What Python uses of the compiled ranges.pyx."""

from colo_proxy.compiled import Positions

__all__ = ["Positions"]
