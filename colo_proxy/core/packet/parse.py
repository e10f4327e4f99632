"""What Python uses of the compiled parse.pyx."""

from colo_proxy.compiled import dissect
from colo_proxy.compiled import parse__KINDS as KINDS

__all__ = ["KINDS", "dissect"]
