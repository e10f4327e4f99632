"""The link between the two hosts of a pair: docs/link.md. Nothing else of the program uses it yet.

`wire` (records), `mirror` (a ring of bytes), `channel` (one stream's rings) and `pulse` (heartbeats) are
compiled and need no GIL; `words` is what records say, for Python; `opening` is what both hosts must agree on.
`link` connects or listens, `handshake` opens a stream by `tls` and `opening`, and `carrier` moves its bytes,
in a thread that does nothing else.
"""
