"""What Python uses of the compiled pulse.pyx."""

from colo_proxy.compiled import Heartbeats

__all__ = ["Heartbeats"]
