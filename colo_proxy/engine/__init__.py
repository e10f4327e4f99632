"""The data path's thread: all I/O of frames. Compiled."""
