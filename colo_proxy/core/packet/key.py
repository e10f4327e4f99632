"""What Python uses of the compiled key.pyx."""

from colo_proxy.compiled import flow_hash, flow_key, flow_protocol, flow_text

__all__ = ["flow_hash", "flow_key", "flow_protocol", "flow_text"]
