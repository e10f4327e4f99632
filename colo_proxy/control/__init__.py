"""The control socket: its protocol (no I/O), the server in the proxy and the client in the commands."""
