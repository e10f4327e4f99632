"""T3b: a guest repeats its SYN with fewer options (Windows, macOS and FreeBSD do)."""

import pytest
from transcripts.common import Player

FORMS = ("mss 1460 ws 7 sack ts 1", "mss 1460 ws 7", "mss 1460", "mss 536")
FIRST = f"""
    P S 0 {FORMS[0]}
    S S 0 {FORMS[0]}
    > S 0
"""


@pytest.mark.parametrize("order", ["PSPSPS", "SPSPSP", "PPPSSS", "SSSPPP", "PPSSSP"])
def test_both_alike(play: Player, order: str) -> None:
    """The k-th form leaves when both have sent it."""
    lines, sent = FIRST, {"P": 0, "S": 0}
    for who in order:
        sent[who] += 1
        lines += f"{who} S 0 {FORMS[sent[who]]}\n"
        if sent["S"] >= sent["P"] if who == "P" else sent["P"] >= sent["S"]:
            lines += "> S 0\n"
    play(f"""{lines}
        C S. 0 ack 1
        P . 1 ack 1
        S . 1 ack 1
        > . 1 ack 1
        P . 1:101 ack 1
        S . 1:101 ack 1
        > . 1:101 ack 1
    """)


def test_each_form_may_be_repeated_as_it_is(play: Player) -> None:
    play(f"""{FIRST}
        P S 0 {FORMS[0]}
        > S 0
        P S 0 {FORMS[1]}
        P S 0 {FORMS[1]}
        S S 0 {FORMS[1]}
        > S 0
        > S 0
        P S 0 {FORMS[1]}
        > S 0
        S S 0 {FORMS[1]}
    """)


def test_before_the_svm_has_sent_any(play: Player) -> None:
    play(f"""
        P S 0 {FORMS[0]}
        P S 0 {FORMS[2]}
        S S 0 {FORMS[0]}
        > S 0
        S S 0 {FORMS[2]}
        > S 0
    """)


@pytest.mark.parametrize("first", ["P", "S"])
def test_another_form(play: Player, first: str) -> None:
    second = "S" if first == "P" else "P"
    play(f"""{FIRST}
        {first} S 0 {FORMS[1]}
        {second} S 0 {FORMS[2]}
        ! control 0
    """)


@pytest.mark.parametrize("who", ["P", "S"])
def test_one_that_only_one_has_sent_when_the_answer_comes(play: Player, who: str) -> None:
    other = "S" if who == "P" else "P"
    play(f"""{FIRST}
        {who} S 0 {FORMS[1]}
        C S. 0 ack 1
        ! control 0
    """)
    play(f"""{FIRST}
        {who} S 0 {FORMS[1]}
        {other} . 1 ack 1
        ! control 0
    """)


@pytest.mark.parametrize("who", ["P", "S"])
def test_one_that_only_one_has_sent_when_the_other_resets(play: Player, who: str) -> None:
    """The acknowledgement of a reset is one, too."""
    other = "S" if who == "P" else "P"
    play(f"""{FIRST}
        {who} S 0 {FORMS[1]}
        {who} S 0 {FORMS[2]}
        {other} R. 1 ack 1
        ! control 0
    """)


def test_one_that_the_svm_never_sends(play: Player) -> None:
    for wait in ("+3s tick", "finish"):
        play(f"""{FIRST}
            P S 0 {FORMS[1]}
            {wait}
            ! missing-secondary 0
        """)


def test_the_window_scale_is_that_of_the_latest_form(play: Player) -> None:
    """A window of 1,000 is 128,000 with the first form, and 1,000 with the third."""
    play(f"""{FIRST}
        P S 0 {FORMS[2]}
        S S 0 {FORMS[2]}
        > S 0
        P . 1 ack 1 win 1000
        S . 1 ack 1 win 900
        > . 1 ack 1 win 900
        P . 1 ack 601 win 1000
        S . 1 ack 301 win 1000
        > . 1 ack 301 win 1000
        S . 1 ack 601 win 400
        > . 1 ack 601 win 400
    """)
    play(f"""{FIRST}
        P . 1 ack 1 win 1000
        S . 1 ack 1 win 900
        > . 1 ack 1 win 900
        P . 1 ack 601 win 1000
        S . 1 ack 301 win 900
        > . 1 ack 301 win 900
    """)


def test_a_commit_brings_the_svm_up_to_the_pvm(play: Player) -> None:
    play(f"""{FIRST}
        P S 0 {FORMS[1]}
        svm_stop
        pvm_stop
        commit
        > S 0
        P S 0 {FORMS[1]}
        > S 0
        P . 1 ack 1
        S . 1 ack 1
        > . 1 ack 1
    """)


def test_from_another_port(play: Player) -> None:
    play(f"""
        S S 0 {FORMS[0]} sport 985
        S S 0 {FORMS[1]} sport 985
        P S 0 {FORMS[0]} sport 712
        > S 0 sport 712
        P S 0 {FORMS[1]} sport 712
        > S 0 sport 712
        P S 0 {FORMS[2]} sport 712
        S . 1 ack 1 sport 985
        ! control 0
    """)
