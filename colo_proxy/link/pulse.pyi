from colo_proxy.link.channel import Channel

class Heartbeats:
    """Heartbeats every `interval` ns on a channel, from Python; times are CLOCK_BOOTTIME in ns."""

    def __init__(self, channel: Channel, interval: int) -> None: ...
    def turn(self, now: int) -> None:
        """A turn of the data path: sends a heartbeat if it is time."""

    def take(self, kind: int, body: bytes, now: int) -> None:
        """Take a heartbeat, and acknowledge it, or an acknowledgement. Raises BadRecord."""

    @property
    def acked_sent(self) -> int | None:
        """When the newest acknowledged heartbeat was sent."""

    @property
    def round_trip(self) -> int | None:
        """How long the newest acknowledgement took, in ns."""
