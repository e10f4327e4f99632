"""For all tests: none is timed. A busy machine would fail what is right, and speed belongs to bench/."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
