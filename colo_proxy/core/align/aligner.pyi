"""The aligner for tests and tools (the data path uses aligner.pxd). Frames begin at the Ethernet header."""

def to_svm(
    frame: bytes,
    *,
    seq: int = 0,
    ts: int = 0,
    svm_port: int = 0,
    pvm_port: int = 0,
    vnet: bytes | None = None,
) -> bytes: ...
def from_svm(
    frame: bytes,
    *,
    seq: int = 0,
    ts: int = 0,
    svm_port: int = 0,
    pvm_port: int = 0,
    vnet: bytes | None = None,
) -> bytes: ...
def quoted_to_svm(
    frame: bytes,
    *,
    seq: int = 0,
    ts: int = 0,
    svm_port: int = 0,
    pvm_port: int = 0,
    vnet: bytes | None = None,
) -> bytes: ...
def quoted_from_svm(
    frame: bytes,
    *,
    seq: int = 0,
    ts: int = 0,
    svm_port: int = 0,
    pvm_port: int = 0,
    vnet: bytes | None = None,
) -> bytes: ...
def quoted_flow(frame: bytes, from_vm: bool = False) -> bytes | None: ...
