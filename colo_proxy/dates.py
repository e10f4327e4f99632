"""Dates for people: RFC 3339, in UTC, so that no reader has to ask which zone is meant."""

import time


def rfc3339(seconds: int, fraction: int = 0, digits: int = 0) -> str:
    """`2026-11-30T12:20:05.123Z`: seconds since 1970, and a fraction in units of 10**-digits seconds."""
    parts = f".{fraction:0{digits}d}" if digits else ""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + parts + "Z"
