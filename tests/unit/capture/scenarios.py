"""Pairs of captures, and what `colo-proxy compare` has to say of them.

Transcripts as in transcripts/play.py: `P` and `S` lines go into the two captures. Then, in order: `!` each
divergence, `>` each frame released, `held` how many were not; released sequence numbers count from the PVM's
last ISN. Observing, a divergence is followed as if a checkpoint had been made: what was held leaves after it.

Past 400 lines: a list of cases, each by itself.
"""

OPEN = """
    P S. 0 ack 1 mss 1460
    S S. 0 ack 1 mss 1460
    > S. 0 ack 1
"""

SCENARIOS = {
    # ------------------------------------------------------------------ the same stream
    "the same": f"""{OPEN}
        P . 1:101 ack 1
        S . 1:101 ack 1
        > . 1:101 ack 1""",
    "the SVM first": f"""{OPEN}
        S . 1:101 ack 1
        P . 1:101 ack 1
        > . 1:101 ack 1""",
    "the SVM later": f"""{OPEN}
        P . 1:101 ack 1
        +900ms S . 1:101 ack 1
        > . 1:101 ack 1""",
    "other segmentation": f"""{OPEN}
        P . 1:101 ack 1
        P . 101:201 ack 1
        S . 1:31 ack 1
        S . 31:201 ack 1
        > . 1:101 ack 1
        > . 101:201 ack 1""",
    "a super-frame against segments": f"""{OPEN}
        P . 1:3001 ack 1
        S . 1:1001 ack 1
        S . 1001:2001 ack 1
        S . 2001:3001 ack 1
        > . 1:3001 ack 1""",
    "segments against the largest super-frame": f"""{OPEN}
        P . 1:1001 ack 1
        P . 1001:65001 ack 1
        S . 1:65001 ack 1
        > . 1:1001 ack 1
        > . 1001:65001 ack 1""",
    "out of order": f"""{OPEN}
        P . 101:201 ack 1
        P . 1:101 ack 1
        S . 1:201 ack 1
        > . 101:201 ack 1
        > . 1:101 ack 1""",
    "the SVM out of order": f"""{OPEN}
        P . 1:101 ack 1
        P . 101:201 ack 1
        S . 101:201 ack 1
        S . 1:101 ack 1
        > . 1:101 ack 1
        > . 101:201 ack 1""",
    "overlapping": f"""{OPEN}
        P . 1:101 ack 1
        P . 51:151 ack 1
        S . 1:121 ack 1
        S . 91:151 ack 1
        > . 1:101 ack 1
        > . 51:151 ack 1""",
    "said again": f"""{OPEN}
        P . 1:101 ack 1
        S . 1:101 ack 1
        > . 1:101 ack 1
        P . 1:101 ack 1
        > . 1:101 ack 1""",
    "old and new in one": f"""{OPEN}
        P . 1:101 ack 1
        S . 1:101 ack 1
        > . 1:101 ack 1
        P . 1:201 ack 1
        S . 101:201 ack 1
        > . 1:201 ack 1""",
    "across 2**32": """
        P isn 4294967196
        S isn 4294967286
        P S. 0 ack 1
        S S. 0 ack 1
        > S. 0 ack 1
        P . 1:1001 ack 1
        S . 1:1001 ack 1
        > . 1:1001 ack 1""",
    "up to 2**32": """
        P isn 4294967190
        P S. 0 ack 1
        S S. 0 ack 1
        > S. 0 ack 1
        P . 1:106 ack 1
        S . 1:106 ack 1
        > . 1:106 ack 1
        P . 106:110 ack 1
        S . 106:110 ack 1
        > . 106:110 ack 1""",
    "in mid-stream": """
        P isn 5000
        S isn 5000
        P . 1:101 ack 1
        S . 1:101 ack 1
        > . 1:101 ack 1""",
    "IPv6": """
        P S. 0 ack 1 v6
        S S. 0 ack 1 v6
        > S. 0 ack 1
        P . 1:11 ack 1 v6
        S . 1:11 ack 1 v6
        > . 1:11 ack 1""",
    "a VLAN and a VLAN in a VLAN": """
        P isn 5000
        S isn 5000
        P . 1:11 ack 1 vlan 7
        S . 1:11 ack 1 vlan 7
        > . 1:11 ack 1
        P . 1:11 ack 1 vlan 7 inner 9
        S . 1:11 ack 1 vlan 7 inner 9
        > . 1:11 ack 1""",
    "padding": f"""{OPEN}
        P . 1 ack 1 pad 6
        S . 1 ack 1
        > . 1 ack 1
        P . 1:4 ack 1 pad 3
        S . 1:4 ack 1 pad 17
        > . 1:4 ack 1""",
    "finished by both": f"""{OPEN}
        P F. 1:101 ack 1
        S . 1:101 ack 1
        S F. 101 ack 1
        > F. 1:101 ack 1""",
    "reset by both": f"""{OPEN}
        P R. 1 ack 1
        S R. 1 ack 1
        > R. 1 ack 1""",
    "opened by the guest, from another port": """
        P S 0 mss 1460 sport 33000
        S S 0 mss 1460 sport 44000
        > S 0 sport 33000
        P . 1:11 ack 1 sport 33000
        S . 1:11 ack 1 sport 44000
        > . 1:11 ack 1 sport 33000""",
    "opened by both ends at once": """
        P S 0 mss 1460
        S S 0 mss 1460
        > S 0
        P S. 0 ack 1 mss 1460
        S S. 0 ack 1 mss 1460
        > S. 0 ack 1""",
    "data on the SYN": """
        P S. 0:10 ack 1
        S S. 0:10 ack 1
        > S. 0:10 ack 1""",
    "closed by both ends at once": f"""{OPEN}
        P F. 1 ack 1
        S F. 1 ack 1
        > F. 1 ack 1
        P . 2 ack 2
        S . 2 ack 2
        > . 2 ack 2""",
    "the next connection on the same ports": """
        P S. 0 ack 1 mss 1460
        S S. 0 ack 1 mss 1460
        > S. -300000 ack 1
        P F. 1 ack 1
        S F. 1 ack 1
        > F. -299999 ack 1
        P isn 301000
        S isn 999999
        P S. 0 ack 1 mss 1460
        S S. 0 ack 1 mss 1460
        > S. 0 ack 1
        P . 1:11 ack 1
        S . 1:11 ack 1
        > . 1:11 ack 1""",
    "keep-alives and window probes": f"""{OPEN}
        P . 1:101 ack 1
        S . 1:101 ack 1
        > . 1:101 ack 1
        P . 100 ack 1
        > . 100 ack 1
        P . 100:101 ack 1
        > . 100:101 ack 1""",
    "urgent data": f"""{OPEN}
        P U. 1:101 ack 1 urg 50
        S U. 1:101 ack 1 urg 50
        > U. 1:101 ack 1""",
    # ------------------------------------------------------------------ what clients are told of their data
    "an acknowledgement ahead of the SVM's": f"""{OPEN}
        P . 1 ack 5000
        S . 1 ack 4000
        > . 1 ack 4000
        held 1""",
    "data that acknowledges more than the SVM": f"""{OPEN}
        P . 1:101 ack 5000
        S . 1:101 ack 4000
        > . 1:101 ack 4000
        S . 101 ack 5000
        > . 101 ack 5000""",
    "a window beyond the SVM's": """
        P S. 0 ack 1 win 100
        S S. 0 ack 1 win 100
        > S. 0 ack 1 win 100
        P . 1:11 ack 1 win 5000
        S . 1:11 ack 1 win 300
        > . 1:11 ack 1 win 300""",
    "duplicate acknowledgements": f"""{OPEN}
        P . 1 ack 1
        P . 1 ack 1
        P . 1 ack 1
        > . 1 ack 1
        > . 1 ack 1
        > . 1 ack 1""",
    # ------------------------------------------------------------------ differences
    "a byte": f"""{OPEN}
        P . 1:101 ack 1
        S . 1:101 ack 1 flip 51
        ! payload 50
        > . 1:101 ack 1""",
    "a byte in mid-stream": """
        P isn 5000
        S isn 5000
        P . 1:101 ack 1
        P . 101:201 ack 1
        S . 1:201 ack 1 flip 151
        > . 1:101 ack 1
        ! payload 150
        > . 101:201 ack 1""",
    "a byte behind a hole": f"""{OPEN}
        P . 1:101 ack 1
        P . 201:301 ack 1
        S . 201:301 ack 1 flip 211
        ! payload 210
        > . 1:101 ack 1
        > . 201:301 ack 1""",
    "a byte on the SYN": """
        P S. 0 ack 1 "abc"
        S S. 0 ack 1 "abd"
        ! payload 2
        > S. 0:3 ack 1 "abc" """,
    "two bytes of one flow": f"""{OPEN}
        P . 1:101 ack 1
        S . 1:101 ack 1 flip 51
        ! payload 50
        > . 1:101 ack 1
        P . 101:201 ack 1
        S . 101:201 ack 1 flip 151
        ! payload 150
        > . 101:201 ack 1""",
    "equal bytes in another place": f"""{OPEN}
        P . 1:5 ack 1 "abcd"
        S . 5:9 ack 1 "abcd"
        ! missing-secondary 0
        held 1""",
    "other options of the SYN": """
        P S. 0 ack 1 mss 1460
        S S. 0 ack 1 mss 1400
        ! control 0
        > S. 0 ack 1""",
    "another window scale": """
        P S. 0 ack 1 ws 7
        S S. 0 ack 1 ws 8
        ! control 0
        > S. 0 ack 1""",
    "a FIN too early": f"""{OPEN}
        P F. 1 ack 1
        S . 1:11 ack 1
        ! control 0
        > F. 1 ack 1""",
    "a FIN inside what is agreed": f"""{OPEN}
        P . 1:101 ack 1
        S . 1:101 ack 1
        > . 1:101 ack 1
        P F. 1:51 ack 1
        ! control 50
        > F. 1:51 ack 1""",
    "a reset by the PVM alone": f"""{OPEN}
        P R. 1 ack 1
        S . 1 ack 1
        ! missing-secondary 0
        held 1""",
    "a reset by the SVM alone": f"""{OPEN}
        S R. 1 ack 1
        ! missing-primary 0""",
    "a reset against a FIN": f"""{OPEN}
        P R. 1 ack 1
        S F. 1 ack 1
        ! control 0
        > R. 1 ack 1""",
    "urgent by the PVM alone": f"""{OPEN}
        P U. 1:101 ack 1 urg 50
        S . 1:101 ack 1
        ! control 50
        > U. 1:101 ack 1""",
    "the next connection differs": """
        P S. 0 ack 1 mss 1460
        S S. 0 ack 1 mss 1460
        > S. -300000 ack 1
        P F. 1 ack 1
        S F. 1 ack 1
        > F. -299999 ack 1
        P isn 301000
        S isn 999999
        P S. 0 ack 1 mss 1460
        S S. 0 ack 1 mss 1460
        > S. 0 ack 1
        P . 1:11 ack 1
        S . 1:11 ack 1 flip 3
        ! payload 2
        > . 1:11 ack 1""",
    "missing output of the SVM": f"""{OPEN}
        P . 1:101 ack 1
        ! missing-secondary 0
        held 1""",
    "output of the SVM that comes too late": f"""{OPEN}
        P . 1:101 ack 1
        +4s S . 1:101 ack 1
        ! missing-secondary 0
        > . 1:101 ack 1""",
    "missing output of the PVM": f"""{OPEN}
        S . 1:101 ack 1
        ! missing-primary 0""",
    "a gap in the output of the PVM": f"""{OPEN}
        P . 101:201 ack 1
        S . 1:201 ack 1
        ! missing-primary 0
        held 1""",
    "a gap in the output of the SVM": f"""{OPEN}
        P . 1:201 ack 1
        S . 101:201 ack 1
        ! missing-secondary 0
        held 1""",
    "a connection of the PVM alone": """
        P S. 0 ack 1 mss 1460
        S#1 S. 0 ack 1 mss 1460
        ! missing-secondary 0
        ! missing-primary 0
        held 1""",
    "another VLAN": """
        P . 1:11 ack 1 vlan 5
        S . 1:11 ack 1 vlan 6
        ! missing-secondary 0
        ! missing-primary 0
        held 1""",
    # ------------------------------------------------------------------ everything else
    "datagrams in another order": """
        P udp "1"
        P udp "2"
        S udp "2" id 7
        S udp "1" id 8
        > udp "2"
        > udp "1" """,
    "a datagram that differs": """
        P udp "abc"
        S udp "abd"
        ! payload 2
        > udp "abc" """,
    "a datagram that differs and time to tell": """
        P udp "abc"
        S udp "abd"
        ! payload 2
        > udp "abc"
        +1s P udp "abc"
        S udp "abc"
        > udp "abc" """,
    "an echo reply that differs": """
        P icmp "00000001ping"
        S icmp "00000002ping"
        ! payload 7
        > icmp "00000001ping" """,
    "GRE that differs in the IP ID alone": """
        P gre "carried" id 1
        S gre "carried" id 2
        > gre "carried" id 1""",
    "fragments cut otherwise": """
        P frag 7 0 + "\x00\x01\x00\x02\x00\x18\x00\x00datadata"
        P frag 7 16 "moremore"
        S frag 9 8 "datadatamoremore"
        S frag 9 0 + "\x00\x01\x00\x02\x00\x18\x00\x00"
        > frag 7 0 + "\x00\x01\x00\x02\x00\x18\x00\x00datadata"
        > frag 7 16 "moremore" """,
    "fragments of other data": """
        P frag 7 0 + "\x00\x01\x00\x02\x00\x10\x00\x00"
        P frag 7 8 "datadata"
        S frag 9 0 + "\x00\x01\x00\x02\x00\x10\x00\x00"
        S frag 9 8 "dataDATA"
        ! payload 4
        > frag 7 0 + "\x00\x01\x00\x02\x00\x10\x00\x00"
        > frag 7 8 "datadata" """,
    "a lost fragment": """
        P frag 7 0 + "\x00\x01\x00\x02\x00\x10\x00\x00"
        S udp "x"
        P udp "x"
        > udp "x"
        ! missing-secondary 0
        held 1""",
    "ARP of either alone": """
        P arp
        > arp
        S arp""",
    "another EtherType": """
        P ether "said"
        S ether "said"
        > ether b'said'
        P ether "that"
        S ether "this"
        ! payload 6
        > ether b'that' """,
    "the SVM goes on with the former of two SYN cookies, which the client acknowledged": """
        C S 0 mss 1460
        P S. 0 ack 1 mss 1460
        > S. 0 ack 1
        S S. 0 ack 1 mss 1460
        S isn 90000
        S S. 0 ack 1 mss 1460
        S isn 77000
        C . 1 ack 1
        R . 1 ack 1
        P . 1:1001 ack 1
        > . 1:1001 ack 1
        P . 1001:2001 ack 1
        > . 1001:2001 ack 1
        S . 1001:2001 ack 1
        S . 1:1001 ack 1""",
    "another SYN cookie of the SVM crosses the acknowledgement": """
        C S 0 mss 1460
        P S. 0 ack 1 mss 1460
        > S. 0 ack 1
        S S. 0 ack 1 mss 1460
        C . 1 ack 1
        R . 1 ack 1
        S isn 90000
        S S. 0 ack 1 mss 1460
        S isn 77000
        P . 1:1001 ack 1
        > . 1:1001 ack 1
        S . 1001:2001 ack 1
        P . 1001:2001 ack 1
        > . 1001:2001 ack 1
        S . 1:1001 ack 1""",
    "nothing at all": "",
}
