"""What the fuzzer calls: an input becomes a story of frames and checkpoint words, told to a comparator and
checked.

The input: three bytes of settings, then steps. A step is one byte (low half: what, high half: how much time
goes by) and what that needs; where the input ends, zeros are read. Frames come from frames.pxi, so that few
bytes reach deep states. After each step and at the end `check` (checks.pxi) looks whether all the books
agree; the sanitizers look at the rest.

The same module is built twice (build.py): by clang with libFuzzer, an executable around Python, and as a
plain extension module for the tests, which replay what was found and give the story to the checker of the
promise.

Past 400 lines: one program of the fuzzer, which includes the rest.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdio cimport fprintf, stderr
from libc.stdlib cimport abort, free, malloc
from libc.string cimport memcpy, memmove, memset

from colo_proxy.core.core cimport Core, Diverged, Out, Settings, core_free_diverged
from colo_proxy.core.flow.flow cimport Flow, FlowList, Side, flow_is_alias
from colo_proxy.core.flow.pool cimport N_OWED, Node, Pool, pool_free, pool_new, pool_node_cost, pool_weigh
from colo_proxy.core.nic cimport (
    W_ABORT,
    W_COMMIT,
    W_FAILOVER,
    W_FINISH,
    W_HOLD,
    W_PVM_STOP,
    W_SVM_LOADED,
    W_SVM_STOP,
    W_UNPROTECT,
    FlowRecord,
    Word,
    nic_divergence,
    nic_exhausted,
    nic_flows,
    nic_free,
    nic_new,
    nic_outs,
    nic_primary,
    nic_secondary,
    nic_sent,
    nic_uplink,
    nic_word,
)
from colo_proxy.core.packet.parse cimport (
    K_HOUSEKEEPING,
    MAX_FRAME,
    VNET,
    Packet,
    get16,
    parse_frame,
    put16,
    put32,
)
from colo_proxy.core.policy cimport P_BYPASS, P_DROP, Policies, Rule
from colo_proxy.core.timers cimport timers_tick
from colo_proxy.core.vocabulary cimport M_FAILED_OVER, M_HOLD, M_PASS, PRIMARY, SECONDARY, UPLINK

cdef extern from *:
    """
    #include <stddef.h>
    /* libFuzzer's executable embeds Python, to import the modules that the data path consists of. */
    PyMODINIT_FUNC PyInit_target(void);
    int LLVMFuzzerInitialize(int *argc, char ***argv) {
        (void)argc; (void)argv;
        if (PyImport_AppendInittab("target", PyInit_target)) return 1;
        Py_InitializeEx(0);
        if (PyImport_ImportModule("target") == NULL) {
            PyErr_Print();
            abort();
        }
        return 0;
    }
    /* Only under AddressSanitizer. */
    __attribute__((weak)) size_t __sanitizer_get_current_allocated_bytes(void);
    static size_t allocated(void) {
        return __sanitizer_get_current_allocated_bytes ? __sanitizer_get_current_allocated_bytes() : 0;
    }
    """
    size_t allocated() nogil

include "frames.pxi"

cdef enum:
    MOST_STEPS = 4000

cdef struct Story:
    const uint8_t *at
    const uint8_t *end
    Core *core
    Pool *pool
    Policies policies
    Rule[2] rules
    int64_t now
    uint32_t[3] isn  # by PortId: the client's, the PVM's, the SVM's
    Said said  # the latest
    int patch_at  # of the next frame: -1 is none
    uint8_t patch
    uint8_t keep  # of the next frame: 255 is all
    uint64_t max_bytes
    bint observe
    const char *broken  # the first rule that was seen broken
    PyObject *record  # a list, or NULL

cdef extern from "Python.h":
    ctypedef struct PyObject

cdef int64_t[16] TIMES = [0, 0, 0, 1000, 1000, 100000, 1000000, 4000000, 6000000, 50000000, 200000000,
                          1000000000,
                          3100000000, 61000000000, 4000000000000, -1000000]
cdef uint32_t[16] ISNS = [100, 5000, 0xfffffff0, 0xffffff80, 0x7fffffff, 0x80000000, 0, 0xffffffff, 1,
                          0xffff0000,
                          0x7fff0000, 0x40000000, 0xc0000000, 0x12345678, 100, 100]
cdef Word[16] WORDS = [W_COMMIT, W_SVM_STOP, W_PVM_STOP, W_SVM_LOADED, W_COMMIT, W_SVM_STOP, W_PVM_STOP,
                       W_ABORT, W_HOLD,
                       W_UNPROTECT, W_FAILOVER, W_FINISH, W_COMMIT, W_COMMIT, W_COMMIT, W_COMMIT]


cdef uint8_t byte(Story *story) noexcept nogil:
    if story.at == story.end:
        return 0
    story.at += 1
    return story.at[-1]


cdef void fail(Story *story, const char *rule) noexcept nogil:
    if story.broken == NULL:
        story.broken = rule


include "checks.pxi"


cdef void collect(Story *story, bint holding) noexcept nogil:
    """Take what came out, and read every byte of it."""
    cdef uint32_t count
    cdef uint32_t index
    cdef Out *outs = nic_outs(story.core, &count)
    cdef Diverged diverged
    cdef Packet packet
    cdef bint released
    for index in range(count):
        parse_frame(&packet, outs[index].base, outs[index].size)
        released = outs[index].port == UPLINK and packet.kind != K_HOUSEKEEPING
        if holding and released and not story.policies.count:
            fail(story, "a frame left while all output is held")
        memcpy(frame, outs[index].base, outs[index].size)
    while nic_divergence(story.core, &diverged):
        core_free_diverged(&diverged)
    nic_sent(story.core)
    nic_exhausted(story.core)


# The steps.

cdef void note(Story *story, int port, uint32_t size) noexcept with gil:
    (<list>story.record).append((port, story.now, frame[:size]))


cdef void give(Story *story, int port, uint32_t size) noexcept nogil:
    """Hand the frame over, in memory of exactly its size: a read beyond its end is seen."""
    cdef Core *core = story.core
    cdef bint holding = not story.observe and (
        core.mode == M_HOLD or (core.svm_stopped and core.mode != M_PASS and core.mode != M_FAILED_OVER))
    cdef uint8_t *base
    if story.patch_at >= 0:
        frame[min(VNET + <uint32_t>story.patch_at, size - 1)] = story.patch
        size = min(size, VNET + story.keep) if story.keep != 255 else size
        story.patch_at = -1
    if story.record != NULL:
        note(story, port, size)
        return
    base = <uint8_t *>malloc(size)
    memcpy(base, frame, size)
    if port == PRIMARY:
        nic_primary(core, base, size, story.now)
    elif port == SECONDARY:
        nic_secondary(core, base, size, story.now)
    else:
        nic_uplink(core, base, size, story.now)
    collect(story, holding)
    free(base)


cdef Speaker speaker_of(const Story *story, int port) noexcept nogil:
    cdef Speaker speaker
    speaker.to_vm = port == UPLINK
    speaker.port = <uint8_t>port
    speaker.isn = story.isn[port]
    # Clients speak with the PVM.
    speaker.other_isn = story.isn[<int>PRIMARY] if port == UPLINK else story.isn[<int>UPLINK]
    speaker.tsval = 1000 * (port + 1)
    return speaker


cdef uint32_t length_of(uint8_t value) noexcept nogil:
    """Short ones as they are, then to the size of a super-frame."""
    if value < 128:
        return value
    return (<uint32_t>value - 126) * 64 if value < 248 else (<uint32_t>value - 247) * 8120


cdef void say(Story *story, int port) noexcept nogil:
    cdef Speaker speaker = speaker_of(story, port)
    give(story, port, build(&story.said, &speaker))


cdef void read_segment(Story *story) noexcept nogil:
    cdef Said *said = &story.said
    cdef uint8_t bits
    memset(said, 0, sizeof(Said))
    said.shape = byte(story)
    bits = byte(story)
    said.flags = <uint8_t>FLAGS[bits & 15]
    said.options = byte(story) if bits & 16 else 0
    said.urgent = byte(story) if said.flags & 32 else 0
    said.at = byte(story) * (1000 if bits & 32 else 1)
    said.length = 0 if said.flags & 2 and not bits & 64 else length_of(byte(story))
    said.ack = byte(story)
    said.window = byte(story) << 6 if bits & 128 else 1000


cdef void read_datagram(Story *story) noexcept nogil:
    cdef Said *said = &story.said
    cdef uint8_t bits
    memset(said, 0, sizeof(Said))
    said.shape = byte(story)
    bits = byte(story)
    said.what = SAY_UDP + bits % 7
    said.options = bits >> 3
    said.flags = 16
    said.at = byte(story)
    said.length = length_of(byte(story))


cdef void fragment(Story *story) noexcept nogil:
    """A piece of what was said last."""
    cdef uint8_t bits = byte(story)
    cdef int port = SECONDARY if bits & 1 else PRIMARY
    cdef Speaker speaker = speaker_of(story, port)
    cdef uint32_t size = build(&story.said, &speaker)
    cdef uint32_t begin = byte(story) * 8
    give(story, port, cut(size, begin, (bits >> 4) * 64 + 8, bits >> 1 & 3, (bits & 8) != 0))


cdef void raw(Story *story) noexcept nogil:
    cdef uint8_t bits = byte(story)
    cdef uint32_t size = VNET + (byte(story) if bits & 128 == 0 else ROOM - VNET - byte(story))
    cdef uint32_t index
    for index in range(VNET, min(size, VNET + 256)):
        frame[index] = byte(story)
    if size > VNET + 256:
        memset(&frame[VNET + 256], bits, size - VNET - 256)
    memset(frame, 0, VNET)
    give(story, bits % 3, size)


cdef void word(Story *story, Word what) noexcept nogil:
    if story.record != NULL:
        note(story, 16 + what, 0)
        return
    nic_word(story.core, what, story.now)
    collect(story, False)


cdef void step(Story *story) noexcept nogil:
    cdef uint8_t what = byte(story)
    cdef FlowRecord[4] records
    cdef uint32_t place = 0
    cdef uint32_t steps = 64
    story.now = max(story.now + TIMES[what >> 4], 0)
    what &= 15
    if what <= 6:
        read_segment(story)
        say(story, PRIMARY if what <= 3 else SECONDARY)
    elif what == 7 or what == 8:
        say(story, PRIMARY if what == 7 else SECONDARY)  # the same again, or the other guest's half
    elif what == 9:
        story.said.flip = byte(story)
        story.said.length += story.said.flip >> 6
        say(story, SECONDARY)
    elif what == 10:
        read_datagram(story)
        say(story, story.said.shape % 3)
    elif what == 11:
        fragment(story)
    elif what == 12:
        if byte(story) & 1:
            read_segment(story)
            say(story, UPLINK)
        else:
            raw(story)
    elif what == 13:
        story.patch_at = byte(story)
        story.patch = byte(story)
        story.keep = byte(story)
    elif what == 14:
        word(story, WORDS[byte(story) & 15])
    elif story.record != NULL:
        note(story, 15, 0)
    else:
        timers_tick(story.core, story.now)
        collect(story, False)
        nic_flows(story.core, &place, &steps, records, 4)


cdef void read_settings(Story *story, Settings *settings, uint64_t *max_flows, int *mode) noexcept nogil:
    cdef uint64_t[4] flow_bytes = [1 << 20, 20000, 2000, 1]
    cdef uint64_t[4] held_bytes = [4 << 20, 100000, 10000, 3000]
    cdef uint64_t[4] flows = [1000, 20, 3, 1]
    cdef int64_t[4] timeouts = [3000, 0, 50, 1]
    cdef uint8_t bits = byte(story)
    memset(settings, 0, sizeof(Settings))
    settings.observe = bits & 1
    settings.passthrough = bits & 3 == 3
    settings.timeout = timeouts[bits >> 2 & 3] * 1000000
    settings.reorder = (bits >> 4 & 1) * 5000000
    mode[0] = 2 if bits & 32 == 0 else bits >> 6
    bits = byte(story)
    settings.max_flow_bytes = flow_bytes[bits & 3]
    story.max_bytes = held_bytes[bits >> 2 & 3]
    max_flows[0] = flows[bits >> 4 & 3]
    story.policies.count = 1 if bits >> 6 == 3 else 0
    story.policies.rules = story.rules
    story.rules[0].proto = 17
    story.rules[0].ethertype = -1
    story.rules[0].action = P_BYPASS if bits & 1 else P_DROP
    bits = byte(story)
    story.isn[0] = ISNS[bits >> 2 & 15]
    story.isn[1] = ISNS[bits & 15]
    story.isn[2] = ISNS[bits >> 4]
    story.observe = settings.observe


cdef bint warm = False  # Python takes some memory of its own, and keeps it, when it is first entered


cdef const char *tell(const uint8_t *data, size_t size, PyObject *record) except? NULL nogil:
    """Tell a comparator the story of an input; returns the rule that was broken, or NULL."""
    cdef Story story
    cdef Settings settings
    cdef uint64_t max_flows
    cdef int mode
    cdef int steps = 0
    cdef bint held
    global warm
    cdef size_t before = allocated()
    memset(&story, 0, sizeof(Story))
    story.at = data
    story.end = data + size
    story.record = record
    story.patch_at = -1
    read_settings(&story, &settings, &max_flows, &mode)
    with gil:
        story.pool = pool_new(story.max_bytes, max_flows)
        story.core = nic_new(story.pool, &settings)
    story.core.mode = mode
    story.core.policies = &story.policies
    while story.at != story.end and steps < MOST_STEPS and story.broken == NULL:
        step(&story)
        steps += 1
        check(&story)
    if record == NULL:
        word(&story, W_HOLD)
        word(&story, W_SVM_STOP)
        word(&story, W_COMMIT)
        held = story.core.counts.held_frames != 0 or story.core.counts.held_bytes != 0
        if story.pool.held_bytes != story.pool.lasting_bytes or held:
            fail(&story, "a commit has not emptied what was held")
        check(&story)
    nic_free(story.core)
    if story.pool.held_bytes or story.pool.flows:
        fail(&story, "the core has not given everything back")
    pool_free(story.pool)
    if allocated() != before and warm:
        fail(&story, "memory leaks")
    warm = True
    return story.broken


cdef public int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) noexcept nogil:
    cdef const char *broken = tell(data, size, NULL)
    if broken != NULL:
        fprintf(stderr, b"broken: %s\n", broken)
        abort()
    return 0


# For the tests.

def run(bytes data):
    """Tell the story of an input to a comparator. Returns the rule that was broken, or None."""
    cdef const char *broken = tell(data, len(data), NULL)
    return None if broken == NULL else broken.decode()


def story(bytes data):
    """The steps of an input: (port, now, virtio-net header and frame); port 15 is a tick, 16 + n the word
    n."""
    cdef list record = []
    tell(data, len(data), <PyObject *>record)
    return record


def settings(bytes data):
    """The settings of an input, as Comparator takes them."""
    cdef Story story
    cdef Settings settings
    cdef uint64_t max_flows
    cdef int mode
    memset(&story, 0, sizeof(Story))
    story.at = data
    story.end = story.at + len(data)
    read_settings(&story, &settings, &max_flows, &mode)
    return {
        "timeout_ms": settings.timeout // 1000000,
        "reorder_ms": settings.reorder // 1000000,
        "max_flow_bytes": settings.max_flow_bytes,
        "max_held_bytes": story.max_bytes,
        "max_flows": max_flows,
        "observe": settings.observe,
        "passthrough": settings.passthrough,
        "mode": mode,
    }, bool(story.policies.count)
