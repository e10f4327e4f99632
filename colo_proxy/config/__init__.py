"""The configuration file.

`sections` and `policies` are what it may say, `reader` reads it, `two_hosts` judges what takes two keys of
`[pair]` or `[arbiter]`, `problems` has the words for what is wrong, and `tomllines` knows on which line a key
stands.
"""

from colo_proxy.config.policies import policy_rule, unwise
from colo_proxy.config.reader import load, parse
from colo_proxy.config.sections import PORTS, Arbiter, Config, Nic, Pair, PairNic, TwoHosts

__all__ = [
    "PORTS",
    "Arbiter",
    "Config",
    "Nic",
    "Pair",
    "PairNic",
    "TwoHosts",
    "load",
    "parse",
    "policy_rule",
    "unwise",
]
