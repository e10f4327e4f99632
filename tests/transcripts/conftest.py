"""Each transcript is played twice: to the oracle in tests/models/, and to the compiled core."""

from collections.abc import Callable
from typing import Any

import pytest
from models.oracle import Oracle
from transcripts.play import Play


def comparator(kind: str, **settings: Any) -> Any:
    """The oracle or the compiled core."""
    if kind == "oracle":
        return Oracle(**settings)
    from colo_proxy.core.comparator import Comparator  # noqa: PLC0415  the oracle's run must not need it

    return Comparator(**settings)


@pytest.fixture(params=["oracle", "core"])
def play(request: pytest.FixtureRequest) -> Callable[..., None]:
    """`play(transcript, **settings)`: p_isn, s_isn, c_isn, and whatever a comparator takes."""

    def run(
        transcript: str,
        *,
        p_isn: int = 1_000_000,
        s_isn: int = 7_000_000,
        c_isn: int = 500_000,
        **settings: Any,
    ) -> None:
        Play(comparator(request.param, **settings), p_isn=p_isn, s_isn=s_isn, c_isn=c_isn).run(transcript)

    return run
