"""What the live benchmark measures against is what it claims to be."""

import shutil

import pytest

from bench.live import CEILING, PORT, way

SIZE = 100_000_000


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler (cc)")
def test_both_replicas_of_the_ceiling_speak() -> None:
    """A forwarder whose SVM falls silent would be the ceiling for one replica."""
    with way(CEILING) as between:
        before = between.said()
        between.client("stream", between.host, PORT, "1", str(SIZE))
        # Nobody waits for it, so on a busy machine it may be far behind; silent, it says an initial window.
        assert between.said() - before > SIZE / 50
