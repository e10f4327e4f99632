"""colo-proxy: the network half of COLO, in userspace, beside an unmodified VMM."""

from importlib.metadata import version

__version__ = version("colo-proxy")
