"""Judging everything that is no TCP."""
