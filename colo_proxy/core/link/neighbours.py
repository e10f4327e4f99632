"""What Python uses of the compiled neighbours.pyx."""

from colo_proxy.compiled import NeighbourTable

__all__ = ["NeighbourTable"]
