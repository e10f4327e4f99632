"""T10 and 3.1: a guest opens its connections from one port, each guest from its own (NFS, BGP, rsh)."""

import pytest
from transcripts.common import Player

FIRST = """
    P isn 10
    S isn 700
    P S 0 mss 1460 sport 712
    S S 0 mss 1460 sport 985
    > S 0 sport 712
"""
SPOKEN = """
    P . 1:101 ack 1 sport 712
    S . 1:101 ack 1 sport 985
    > . 1:101 ack 1 sport 712
"""
OVER = """
    P F. 101 ack 1 sport 712
    S F. 101 ack 1 sport 985
    > F. 101 ack 1 sport 712
"""
CLOSED = {
    "refused": "",  # by the client's RST: the guests say nothing of it
    "finished": SPOKEN + OVER,
    "reset": f"""{SPOKEN}
        S R. 101 ack 1 sport 985
        P R. 101 ack 1 sport 712
        > R. 101 ack 1 sport 712
    """,
}


def again(first: str, number: int) -> str:
    """Both guests open the connection again, `first` of them first, and it is judged afresh."""
    p_syn, s_syn = "P S 0 mss 1460 sport 712", "S S 0 mss 1460 sport 985"
    return f"""
        P isn {5000 * number}
        S isn {90000 * number}
        +8s tick
        {p_syn if first == "P" else s_syn}
        {s_syn if first == "P" else p_syn}
        > S 0 sport 712
        {SPOKEN}
        P . 101:201 ack {number} sport 712
        S . 101:151 ack {number} sport 985
        S . 151:201 ack {number} sport 985
        > . 101:201 ack {number} sport 712
    """


@pytest.mark.parametrize("before", CLOSED)
@pytest.mark.parametrize("order", ["P", "S", "PPP", "SSS", "PSPSP"])
def test_again_and_again(play: Player, before: str, order: str) -> None:
    play(
        FIRST
        + CLOSED[before]
        + "".join(again(first, number) for number, first in enumerate(order, 2))
        + """
            P . 201:301 ack 9 sport 712
            S . 201:301 ack 9 sport 985 flip 250
            ! payload 249
        """
    )


def test_tries_that_the_other_guest_has_not_made_yet(play: Player) -> None:
    """Each guest may be two tries ahead."""
    for ahead, behind, at in (("P", "S", (712, 985)), ("S", "P", (985, 712))):
        leaves = "> S 0 sport 712"
        play(f"""{FIRST}
            {ahead} isn 5000
            {ahead} S 0 mss 1460 sport {at[0]}
            {ahead} isn 9000
            {ahead} S 0 mss 1460 sport {at[0]}
            {behind} isn 300000
            P isn {5000 if ahead == "P" else 300000}
            {behind} S 0 mss 1460 sport {at[1]}
            {leaves}
            {behind} isn 400000
            P isn {9000 if ahead == "P" else 400000}
            {behind} S 0 mss 1460 sport {at[1]}
            {leaves}
            {SPOKEN}
        """)


@pytest.mark.parametrize("first", ["P", "S"])
def test_another_port_the_next_time(play: Player, first: str) -> None:
    """The SVM goes on from a third port, or from the PVM's, and returns."""
    begun = FIRST + SPOKEN + OVER
    for number, port in enumerate((986, 712, 985, 986), 2):
        p_syn, s_syn = "P S 0 mss 1460 sport 712", f"S S 0 mss 1460 sport {port}"
        begun += f"""
            P isn {5000 * number}
            S isn {90000 * number}
            {p_syn if first == "P" else s_syn}
            {s_syn if first == "P" else p_syn}
            > S 0 sport 712
        """ + (SPOKEN + OVER).replace("985", str(port))
    play(begun)


CROSSING = """
    P isn 10
    S isn 700
    P S 0 mss 1460 sport 712
    S S 0 mss 1460 sport 713
    > S 0 sport 712
    P isn 20000
    S isn 40000
    P S 0 mss 1460 sport 713
    S S 0 mss 1460 sport 712
    > S 0 sport 713
"""


NEXT = {"a": ("P isn 5000\nS isn 100000\n", 712, 713), "b": ("P isn 7000\nS isn 200000\n", 713, 712)}


@pytest.mark.parametrize("order", ["Pa Pb Sb Sa", "Pa Pb Sa Sb", "Sb Sa Pa Pb", "Sb Sa Pb Pa", "Sa Pa Pb Sb"])
def test_ports_that_cross(play: Player, order: str) -> None:
    """Each guest has the other's two ports the other way round, and opens both connections again."""
    lines = CROSSING
    for at, word in enumerate(order.split()):
        who, which = word[0], word[1]
        isns, pvm, svm = NEXT[which]
        lines += f"{isns}{who} S 0 mss 1460 sport {pvm if who == 'P' else svm}\n"
        lines += f"> S 0 sport {pvm}\n" if which in order[: 3 * at] else ""
    play(f"""{lines}
        {NEXT["a"][0]}
        P . 1:101 ack 1 sport 712
        S . 1:101 ack 1 sport 713
        > . 1:101 ack 1 sport 712
        {NEXT["b"][0]}
        P . 1:51 ack 1 sport 713
        S . 1:51 ack 1 sport 712 flip 9
        ! payload 8
    """)


def test_a_late_segment_of_the_connection_before(play: Player) -> None:
    """The SVM has gone on from another port; what it repeats from the first says nothing of the next."""
    play(f"""{FIRST}{SPOKEN}
        P . 101:201 ack 1 sport 712
        P isn 5000
        S isn 90000
        P S 0 mss 1460 sport 712
        S S 0 mss 1460 sport 986
        > S 0 sport 712
        P . 1:101 ack 1 sport 712
        P isn 10
        S isn 700
        S . 101:201 ack 1 sport 985
        > . 101:201 ack 1 sport 712
        P isn 5000
        S isn 90000
        S . 1:101 ack 1 sport 986
        > . 1:101 ack 1 sport 712
    """)


def test_a_port_of_its_own_that_is_another_connections(play: Player) -> None:
    """What the SVM sends from a port that it has for nothing is of no connection that the PVM has there."""
    play("""
        P S 0 mss 1460 sport 712
        S S 0 mss 1460 sport 985
        > S 0 sport 712
        P . 1:101 ack 1 sport 712
        S . 1:101 ack 1 sport 712
        S . 1:101 ack 1 sport 985
        > . 1:101 ack 1 sport 712
    """)
