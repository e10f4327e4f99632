"""The configuration file.

`sections` is what it may say, `reader` reads it, `problems` has the words for what is wrong, and `tomllines`
knows on which line a key stands.
"""

from colo_proxy.config.reader import load, parse
from colo_proxy.config.sections import PORTS, Config, Nic, policy_rule

__all__ = ["PORTS", "Config", "Nic", "load", "parse", "policy_rule"]
