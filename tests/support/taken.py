"""What a comparator has released."""

from colo_proxy.core.comparator import Comparator
from colo_proxy.vocabulary import Frame


def frames_of(comparator: Comparator) -> list[Frame]:
    """All that came out since the last take; asserts that it is frames alone."""
    items = comparator.take()
    frames = [item for item in items if isinstance(item, Frame)]
    assert frames == items
    return frames
