"""The comparator. Compiled; no I/O, no clock, no thread."""
