"""What Python uses of the compiled wire.pyx."""

from colo_proxy.compiled import BadRecord, header, rules
from colo_proxy.compiled import wire__REASONS as REASONS

__all__ = ["REASONS", "BadRecord", "header", "rules"]
