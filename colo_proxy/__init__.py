"""colo-proxy: the network half of COLO, in userspace, beside an unmodified VMM."""

__version__: str


def __getattr__(name: str) -> str:
    """`__version__`, looked up when asked for: it would be half of a short command's start."""
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415

        return version("colo-proxy")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
