"""The turning of the data path: what can be read is read, judged and sent; then time has its say."""

from colo_proxy.engine.state cimport Loop

cdef void loop_run(Loop *loop) noexcept nogil
