"""Which endpoint of the store is asked what, when, and which answer decides. No I/O and no clock.

How it works. The machine has one question at a time: a `Read` or a `Swap`, with a tag. It *stands* until an
answer decides it, another takes its place, or it is withdrawn. While it stands it is sent to all endpoints
at once, and again every `interval`, each time as a *request* with a number of its own: a member of etcd whose
leader has just died loses what it was asked, and only a repetition gets through. A swap keeps its nonce, so a
repetition of one that was applied finds its own record.

What holds:

- Any answer that says what the store holds decides, from whichever endpoint, to whichever of the requests for
  the standing question. Answers to requests for an earlier question are dropped.
- An error, or no answer, decides nothing. When each endpoint has failed once since the question was asked or
  last reported as unanswered, or after `PATIENCE_S`, the machine is told `Unanswered`; the asking goes on.
- Of each endpoint at most `lanes` requests are under way. One that is full is asked as soon as it has room.
- Behind each endpoint is a process, which may never answer. After `ABANDON_S` without the answer to a request
  it is abandoned for another one (`Start`). One that ends is replaced, not more often than every `RESTART_S`.

| of the whole | meaning |
| --- | --- |
| `question`, `interval` | what stands, and how often it is repeated |
| `repeat_at` | when it is repeated |
| `round_ends` | when it is reported as unanswered, if no answer has come |

| of an endpoint | meaning |
| --- | --- |
| `lanes` | how many requests it takes at once |
| `under_way` | the requests without an answer yet: number, question, when it was sent; the oldest first |
| `failed` | it has failed in this round |
| `up`, `start_at` | its process runs; when another is to be started if not |

All times are seconds of one clock of the caller's that never goes back.
"""

import math
from typing import NamedTuple

from colo_proxy.pair.actions import Read, Swap
from colo_proxy.pair.events import Answer, Unanswered
from colo_proxy.pair.record import Record

DECIDING_S = 0.03  # the interval while service waits for the answer
IDLE_S = 1.0  # the interval elsewhere
PATIENCE_S = 1.0
ABANDON_S = 10.0
RESTART_S = 1.0

Question = Read | Swap


class Send(NamedTuple):
    """Give this endpoint's process the request."""

    endpoint: int
    number: int
    question: Question


class Start(NamedTuple):
    """Abandon this endpoint's process, if it has one, and start another; `started` when it runs."""

    endpoint: int


class Call(NamedTuple):
    """One request has ended, for the metrics: after how many seconds, and why it failed ("": it did not)."""

    endpoint: int
    number: int
    seconds: float
    error: str


Output = Send | Start | Call | Answer | Unanswered


class _Request(NamedTuple):
    question: Question
    sent: float


class _Endpoint:
    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self.under_way: dict[int, _Request] = {}
        self.failed = False
        self.up = False
        self.start_at = -math.inf


class Asking:
    """One question at a time to endpoints that take so many requests at once (`lanes`).

    Each method returns what is to be done, in order. `tick` must be called by `next_tick`.
    """

    def __init__(self, lanes: list[int]) -> None:
        self._endpoints = [_Endpoint(each) for each in lanes]
        self._question: Question | None = None
        self._interval = IDLE_S
        self._repeat_at = math.inf
        self._round_ends = math.inf
        self._number = 0

    def ask(self, question: Question, interval: float, now: float) -> list[Output]:
        """Have this question stand. One that stands already goes on, at the new interval."""
        if self._question is not None and self._question.tag == question.tag:
            self._interval = interval
            self._repeat_at = min(self._repeat_at, now + interval)
            return []
        self._question = question
        self._interval = interval
        self._repeat_at = now
        self._new_round(now)
        return self.tick(now)

    def withdraw(self) -> None:
        """No question stands any more: what is answered now is dropped."""
        self._question = None
        self._repeat_at = self._round_ends = math.inf

    def started(self, endpoint: int, now: float) -> list[Output]:
        """This endpoint's process runs: it is asked what stands."""
        it = self._endpoints[endpoint]
        it.up = True
        it.start_at = now + RESTART_S
        return self._send(endpoint, now) if self._question else []

    def answered(self, endpoint: int, number: int, record: Record | None, now: float) -> list[Output]:
        """The store holds this, in answer to the request."""
        out, request = self._ended(endpoint, number, "", now)
        if request is None:
            return out
        if self._stands(request):
            self.withdraw()
            return [*out, Answer(request.question.tag, record)]
        return out + self._into_room(endpoint, now)

    def failed(self, endpoint: int, number: int, why: str, now: float) -> list[Output]:
        """The request has ended without an answer; what the store holds is unknown."""
        out, request = self._ended(endpoint, number, why, now)
        if request is None:
            return out
        if self._stands(request):
            self._endpoints[endpoint].failed = True
            return out + self._unanswered(now)
        return out + self._into_room(endpoint, now)

    def died(self, endpoint: int, why: str, now: float) -> list[Output]:
        """This endpoint's process has ended, or could not be started; `tick` starts another one in time."""
        it = self._endpoints[endpoint]
        out: list[Output] = []
        for number in list(it.under_way):
            out += self._ended(endpoint, number, why, now)[0]
        it.up, it.failed = False, True
        return out + self._unanswered(now)

    def tick(self, now: float) -> list[Output]:
        """Time has passed."""
        out: list[Output] = []
        for number, endpoint in enumerate(self._endpoints):
            if self._stuck_at(endpoint) <= now:
                for request in list(endpoint.under_way):
                    out += self._ended(number, request, "no answer; its process is abandoned", now)[0]
                endpoint.up, endpoint.start_at, endpoint.failed = False, now, True
            if not endpoint.up and endpoint.start_at <= now:
                endpoint.start_at = now + RESTART_S
                out.append(Start(number))
        if self._repeat_at <= now:
            for number in range(len(self._endpoints)):
                out += self._send(number, now)
            self._repeat_at = now + self._interval
        return out + self._unanswered(now)

    def next_tick(self) -> float:
        """When `tick` has something to do; infinity: never by itself."""
        starts = (each.start_at for each in self._endpoints if not each.up)
        stuck = map(self._stuck_at, self._endpoints)
        return min(self._repeat_at, self._round_ends, *starts, *stuck)

    def _stands(self, request: _Request) -> bool:
        return self._question is not None and request.question.tag == self._question.tag

    @staticmethod
    def _stuck_at(endpoint: _Endpoint) -> float:
        oldest = next(iter(endpoint.under_way.values()), None)
        return oldest.sent + ABANDON_S if oldest else math.inf

    def _send(self, endpoint: int, now: float) -> list[Output]:
        it = self._endpoints[endpoint]
        if self._question is None or not it.up or len(it.under_way) >= it.lanes:
            return []
        self._number += 1
        it.under_way[self._number] = _Request(self._question, now)
        return [Send(endpoint, self._number, self._question)]

    def _into_room(self, endpoint: int, now: float) -> list[Output]:
        """What stands goes to an endpoint that was full of earlier questions until now."""
        it = self._endpoints[endpoint]
        if len(it.under_way) == it.lanes - 1 and not any(map(self._stands, it.under_way.values())):
            return self._send(endpoint, now)
        return []

    def _ended(
        self, endpoint: int, number: int, error: str, now: float
    ) -> tuple[list[Output], _Request | None]:
        request = self._endpoints[endpoint].under_way.pop(number, None)
        return ([Call(endpoint, number, now - request.sent, error)] if request else []), request

    def _unanswered(self, now: float) -> list[Output]:
        """`Unanswered` where the round is over, and another round."""
        over = self._round_ends <= now or all(each.failed for each in self._endpoints)
        if self._question is None or not over:
            return []
        self._new_round(now)
        return [Unanswered(self._question.tag)]

    def _new_round(self, now: float) -> None:
        self._round_ends = now + PATIENCE_S
        for endpoint in self._endpoints:
            endpoint.failed = False
