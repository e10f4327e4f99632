"""What most transcripts begin with."""

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
