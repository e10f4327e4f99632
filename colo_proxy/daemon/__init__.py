"""The parts put together, and the life of the process."""
