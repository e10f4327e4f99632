"""What the core hands on for the report of a divergence: both packets, wherever both are at hand."""

import pytest
from models.packets import ACK, FIN, RST, SYN, ethernet, tcp, udp

from colo_proxy.core.comparator import Comparator
from colo_proxy.vocabulary import Divergence, Reason

MS = 1_000_000
VM, CLIENT = ("192.0.2.2", 80), ("192.0.2.1", 40000)


def segment(seq: int, flags: int) -> bytes:
    return ethernet(tcp(VM, CLIENT, seq=seq, ack=100, flags=flags), 0x0800)


def one_divergence(comparator: Comparator) -> Divergence:
    [found] = [item for item in comparator.take() if isinstance(item, Divergence)]
    return found


@pytest.mark.parametrize("svm_first", [True, False])
@pytest.mark.parametrize(("flags", "offset"), [(SYN | ACK, 0), (FIN | ACK, 1)])
def test_a_reset_against_a_syn_or_a_fin_shows_both(flags: int, offset: int, svm_first: bool) -> None:
    comparator = Comparator()
    if offset:
        comparator.primary(segment(500, SYN | ACK), 1 * MS)
        comparator.secondary(segment(900, SYN | ACK), 2 * MS)
    pvm, svm = segment(500 + offset, RST | ACK), segment(900 + offset, flags)
    says = [(comparator.secondary, svm), (comparator.primary, pvm)]
    for at, (say, frame) in enumerate(says if svm_first else reversed(says)):
        say(frame, (3 + at) * MS)
    found = one_divergence(comparator)
    assert (found.reason, found.primary, found.secondary) == (Reason.CONTROL, pvm, svm)


@pytest.mark.parametrize("flows", [1, 64, 65, 100, 1000, 5000])
def test_each_divergence_is_in_a_count_however_many_come_at_once(flows: int) -> None:
    """One moment finds all datagrams that differ, and another all that have no counterpart."""
    comparator = Comparator(max_flows=20_000)
    kinds = {Reason.MISSING_SECONDARY: 1, Reason.MISSING_PRIMARY: 2, Reason.PAYLOAD: 3}
    for number in range(flows):
        for reason, place in kinds.items():
            client = f"198.{place}.{number >> 8}.{number & 255}"
            for say, text in ((comparator.primary, b"A"), (comparator.secondary, b"B")):
                if (reason, text) not in ((Reason.MISSING_SECONDARY, b"B"), (Reason.MISSING_PRIMARY, b"A")):
                    say(ethernet(udp((VM[0], 53), (client, 4000), text), 0x0800), 0)
    comparator.tick(1000 * MS)  # what differs
    comparator.tick(3600 * 1000 * MS)  # what is missing
    found = [item for item in comparator.take() if isinstance(item, Divergence)]
    for reason in kinds:
        assert sum(each.count for each in found if each.reason is reason) == flows
    assert len(found) <= 2 * (64 + len(Reason))
