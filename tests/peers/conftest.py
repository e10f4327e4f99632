"""The peers' holes are transcripts too."""

from transcripts.conftest import play

__all__ = ["play"]
