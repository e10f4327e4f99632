"""F1 to F3: fragments. (A UDP header of 8 octets, then "datadata", in two pieces.)"""

from transcripts.common import Player

A, B = '"\x01\x02\x03\x04\x00\x18\x00\x00"', '"datadatamore----"'


def test_f1_they_leave_as_they_came_when_the_whole_is_equal(play: Player) -> None:
    play(f"""
        P frag 7 0 + {A}
        P frag 7 8 {B}
        S frag 99 8 {B}
        S frag 99 0 + {A}
        > frag 7 0 + {A}
        > frag 7 8 {B}
    """)


def test_f1_in_the_order_they_came(play: Player) -> None:
    play(f"""
        S frag 99 0 + {A}
        S frag 99 8 {B}
        P frag 7 8 {B}
        P frag 7 0 + {A}
        > frag 7 8 {B}
        > frag 7 0 + {A}
    """)


def test_f1_cut_otherwise(play: Player) -> None:
    play(f"""
        S frag 99 0 + {A}
        S frag 99 8 + "datadata"
        S frag 99 16 "more----"
        P frag 7 0 + {A}
        P frag 7 8 {B}
        > frag 7 0 + {A}
        > frag 7 8 {B}
    """)


def test_f2_an_overlap_is_never_equal(play: Player) -> None:
    play(f"""
        P frag 7 0 + {A}
        P frag 7 0 + {B}
        P frag 7 8 {B}
        +9ms S frag 99 0 + {A}
        S frag 99 8 {B}
        +2995ms tick
        ! missing-secondary 0
        svm_stop
        pvm_stop
        commit
        > frag 7 0 + {A}
        > frag 7 0 + {B}
        > frag 7 8 {B}
    """)


def test_f2_an_overlap_of_the_svm_is_dropped(play: Player) -> None:
    play(f"""
        P frag 7 0 + {A}
        P frag 7 8 {B}
        S frag 99 0 + {A}
        S frag 99 0 + {B}
        S frag 99 8 {B}
        +3s tick
        ! missing-secondary 0
    """)


def test_f3_incomplete(play: Player) -> None:
    play(f"""
        P frag 7 0 + {A}
        +3s tick
        ! missing-secondary 0
    """)
    play(f"""
        S frag 7 0 + {A}
        +9s tick
    """)


def test_f3_the_wait_begins_when_the_fragment_comes(play: Player) -> None:
    """Not when the commit lets it be judged."""
    play(f"""
        svm_stop
        pvm_stop
        P frag 7 0 + {A}
        +1s commit
        +1999ms tick
        +1ms tick
        ! missing-secondary 0
    """)


def test_f1_incomplete_ones_leave_in_the_order_they_came(play: Player) -> None:
    """Not datagram by datagram."""
    play(f"""
        P frag 7 0 + {A}
        P frag 8 0 + {A}
        P frag 7 16 {B}
        svm_stop
        pvm_stop
        commit
        > frag 7 0 + {A}
        > frag 8 0 + {A}
        > frag 7 16 {B}
    """)
