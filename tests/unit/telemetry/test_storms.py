"""Divergences that come at once are reported as few, and none is lost from the count."""

import asyncio
from dataclasses import replace

import pytest

from colo_proxy.telemetry import storms
from colo_proxy.telemetry.storms import Storms
from colo_proxy.vocabulary import Divergence, Reason

ONE = Divergence(0, "tcp 192.0.2.2:80 > 192.0.2.1:40000", "tcp", Reason.PAYLOAD, 7, 0)


@pytest.fixture
def told() -> list[Divergence]:
    return []


async def test_the_first_is_reported_at_once_and_the_rest_together(
    told: list[Divergence], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storms, "WINDOW_S", 0.01)
    gathered = Storms(told.append)
    for number in range(1000):
        gathered.take(replace(ONE, stream_offset=number))
    assert [(each.stream_offset, each.count) for each in told] == [(0, 1)]
    async with asyncio.timeout(5):
        while len(told) < 2:
            await asyncio.sleep(0.001)
    assert [(each.stream_offset, each.count) for each in told] == [(0, 1), (1, 999)]
    await asyncio.sleep(0.05)  # a window without any
    gathered.take(ONE)
    assert [each.count for each in told] == [1, 999, 1]
    gathered.close()


async def test_each_nic_and_reason_has_its_own(told: list[Divergence]) -> None:
    gathered = Storms(told.append)
    others = [ONE, replace(ONE, nic=1), replace(ONE, reason=Reason.CONTROL)]
    for each in (*others, *others):
        gathered.take(each)
    assert told == others
    gathered.close()
    assert told == [*others, *others]


async def test_who_ends_reports_what_was_gathered(told: list[Divergence]) -> None:
    gathered = Storms(told.append)
    for _ in range(31):
        gathered.take(ONE)
    gathered.close()
    assert [each.count for each in told] == [1, 30]
