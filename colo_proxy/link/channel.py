"""What Python uses of the compiled channel.pyx."""

from colo_proxy.compiled import Channel

__all__ = ["Channel"]
