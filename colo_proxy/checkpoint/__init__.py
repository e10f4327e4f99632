"""Checkpoints: the state machine, which does no I/O, and the VMM adapters that speak to it."""
