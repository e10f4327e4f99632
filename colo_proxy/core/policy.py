"""What Python uses of the compiled policy.pyx."""

from colo_proxy.compiled import ACTIONS, PolicyRule, PolicyTable
from colo_proxy.compiled import policy__PROTOCOLS as PROTOCOLS

__all__ = ["ACTIONS", "PROTOCOLS", "PolicyRule", "PolicyTable"]
