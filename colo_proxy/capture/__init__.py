"""Captures: reading pcap and pcapng, comparing two of them, and reports that a person can look into."""
