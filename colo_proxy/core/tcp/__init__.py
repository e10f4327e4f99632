"""Judging TCP segments."""
