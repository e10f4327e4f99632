"""What most transcripts begin with, and the type of the fixture that plays them."""

from collections.abc import Callable

Player = Callable[..., None]  # play(transcript, **settings)

HANDSHAKE = """
    P S. 0 ack 1 mss 1460
    S S. 0 ack 1 mss 1460
    > S. 0 ack 1
"""
SCALED = """
    P S. 0 ack 1 mss 1460 ws 7
    S S. 0 ack 1 mss 1460 ws 7
    > S. 0 ack 1
"""
CHECKPOINT = """
    svm_stop
    pvm_stop
"""
TWO_FROM_OTHER_PORTS = """
    P S 0 mss 1460 sport 5000
    S S 0 mss 1460 sport 5001
    > S 0 sport 5000
    P . 1 ack 1 sport 5000
    S . 1 ack 1 sport 5001
    > . 1 ack 1 sport 5000
    P isn 2000000
    S isn 8000000
    P S 0 mss 1460 sport 5001
    S S 0 mss 1460 sport 5002
    > S 0 sport 5001
    P . 1 ack 1 sport 5001
    S . 1 ack 1 sport 5002
    > . 1 ack 1 sport 5001
"""
