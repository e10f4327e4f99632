"""The configuration file.

`sections` and `policies` are what it may say, `reader` reads it, `problems` has the words for what is wrong,
and `tomllines` knows on which line a key stands.
"""

from colo_proxy.config.policies import policy_rule, unwise
from colo_proxy.config.reader import load, parse
from colo_proxy.config.sections import PORTS, Config, Nic

__all__ = ["PORTS", "Config", "Nic", "load", "parse", "policy_rule", "unwise"]
