"""Certificates for the tests of the link, made once."""

from unit.link.hosts import authority

__all__ = ["authority"]
