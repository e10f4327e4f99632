"""The packet view as tests and tools see it; the data path uses parse.pxd."""

KINDS: tuple[str, ...]

def dissect(frame: bytes, vnet: bytes | None = None) -> dict[str, int | str]: ...
