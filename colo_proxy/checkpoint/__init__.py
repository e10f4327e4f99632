"""Checkpoints: the state machine and the adapters that speak to VMMs."""
