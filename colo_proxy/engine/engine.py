"""What Python uses of the compiled engine.pyx."""

from colo_proxy.compiled import FAULTS, Engine
from colo_proxy.engine.messages import Done, NicCounters, PortCounters, PortFault, PortSpec
from colo_proxy.vocabulary import Word

__all__ = ["FAULTS", "Done", "Engine", "NicCounters", "PortCounters", "PortFault", "PortSpec", "Word"]
