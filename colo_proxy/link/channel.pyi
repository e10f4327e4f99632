class Channel:
    """The memory of one stream, for two threads; no socket and no thread of its own.

    `bound`: bytes of frames that may wait to be sent. Raises OSError without memory or descriptors.
    """

    def __init__(self, bound: int = 8388608) -> None: ...

    # ---- the data path's, as it has them without the GIL (channel.pxd)

    def send_frame(
        self, nic: int, source: int, frame: bytes | bytearray | memoryview, vnet: bytes | None = None
    ) -> bool:
        """Queue a frame (source 0: a client's, 1: the PVM's, 2: the SVM's). False: dropped and counted."""

    def send_word(self, kind: int, flags: int, nic: int, body: bytes) -> bool:
        """Queue a word. False: no room, and the stream ends. Raises BadRecord for what is no record."""

    def flush(self) -> None:
        """Let what has been queued go."""

    def receive(self) -> tuple[int, int, int, bytes] | None:
        """The next record (type, flags, NIC, body); None: not yet. Raises BadRecord, then and ever after."""

    def hear(self) -> None:
        """Silence `data_bell`, before `receive` is called until it returns None."""

    @property
    def data_bell(self) -> int:
        """A descriptor: readable when something has been received or the stream has ended."""

    @property
    def heard(self) -> int:
        """CLOCK_BOOTTIME in ns when the last bytes came from the other host; 0: none yet."""

    @property
    def ended(self) -> bool:
        """Nothing more is sent or received."""

    @property
    def counters(self) -> dict[str, int]:
        """`frames` queued, `dropped_frames`, `dropped_bytes`."""

    # ---- the link's thread's

    def outgoing(self) -> memoryview | None:
        """What is to be sent next; the same until `sent`. Not to be kept: it is the ring's memory."""

    def sent(self, size: int) -> None:
        """So many bytes of it have been sent."""

    def room(self) -> memoryview | None:
        """Where to put what is received; None: the ring is full, and `link_bell` rings when it is not."""

    def filled(self, size: int) -> None:
        """So many bytes have been put there: a sign of life."""

    def silence(self) -> None:
        """Silence `link_bell`, before `outgoing` and `room` are looked at."""

    def end(self) -> None:
        """Nothing more is sent or received."""

    def wake(self) -> None:
        """Ring `link_bell`; for any thread."""

    @property
    def mid_record(self) -> bool:
        """The last record has been sent in part."""

    @property
    def failure(self) -> str | None:
        """Why the data path wants the stream ended."""

    @property
    def link_bell(self) -> int:
        """A descriptor: readable when there is something to send, or room to receive again."""
