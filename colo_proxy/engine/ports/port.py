"""What Python uses of the compiled port.pyx."""

from colo_proxy.compiled import PortIO
from colo_proxy.compiled import port__KINDS as KINDS

__all__ = ["KINDS", "PortIO"]
