"""The loop of the data path: frames that can be read are read, judged and sent; then deadlines are checked.
"""

from colo_proxy.engine.state cimport Loop

cdef void loop_run(Loop *loop) noexcept nogil
