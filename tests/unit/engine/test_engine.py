"""The engine over socket pairs: what goes where, commands, faults, and what a turn costs.

Past 400 lines: what is tested is one class.
"""

import errno
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from select import select
from typing import Any, Self

import pytest
from unit.engine.ports.test_qemu_socket import wire

from colo_proxy.engine.engine import Done, Engine, PortFault, PortSpec, Word
from colo_proxy.vocabulary import Drop, FlowInfo, Mode, Port

MACS = bytes.fromhex("525400000001 525400000002")


def frame(number: int, size: int = 100, ethertype: bytes = b"\x88\xb5") -> bytes:
    return MACS + ethertype + number.to_bytes(4, "big") + bytes(size - 18)


class Bench:
    """An engine in a thread, with a socket pair for each port of its NICs."""

    def __init__(self, nics: int = 1, **settings: Any) -> None:
        self.engine = Engine(**settings)
        self.sockets: list[socket.socket] = []
        self.peers: list[list[socket.socket]] = []
        for nic in range(nics):
            pairs = [socket.socketpair() for _ in Port]
            for ours, theirs in pairs:
                ours.setblocking(False)
                theirs.settimeout(5)
                self.sockets += [ours, theirs]
            specs = [
                PortSpec(ours.fileno(), "stream", f"{port.name}{nic}")
                for (ours, _), port in zip(pairs, Port, strict=True)
            ]
            assert self.engine.add_nic(*specs) == nic
            self.peers.append([theirs for _, theirs in pairs])
        self.uplink, self.pvm, self.svm = self.peers[0]
        self.thread = threading.Thread(target=self.engine.run)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.stop()
        self.thread.join(timeout=5)
        alive = self.thread.is_alive()
        for sock in self.sockets:
            sock.close()
        assert not alive

    def events(self, count: int, timeout: float = 5) -> list[Any]:
        """Wait for `count` events."""
        got: list[Any] = []
        deadline = time.monotonic() + timeout
        while len(got) < count:
            assert select([self.engine.event_fd], [], [], max(deadline - time.monotonic(), 0))[0], got
            got += self.engine.events()
        return got

    def command(self, word: Word, stamp: int = 0) -> Done:
        """Post a word and wait until it is done."""
        ticket = self.engine.command(word, stamp)
        [done] = [event for event in self.events(1) if isinstance(event, Done)]
        assert done.ticket == ticket
        return done


def read(sock: socket.socket, *frames: bytes) -> None:
    """Assert that these frames come next."""
    expected = b"".join(wire(each) for each in frames)
    got = b""
    while len(got) < len(expected):
        got += sock.recv(len(expected) - len(got))
    assert got == expected


def until(true: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def silent(sock: socket.socket, seconds: float = 0.1) -> bool:
    return not select([sock], [], [], seconds)[0]


def test_unprotected_the_pvm_talks_to_the_clients_alone() -> None:
    with Bench(mode=Mode.PASS) as bench:
        bench.uplink.sendall(b"".join(wire(frame(i)) for i in range(1000)))
        read(bench.pvm, *map(frame, range(1000)))
        bench.pvm.sendall(b"".join(wire(frame(i)) for i in range(1000)))
        read(bench.uplink, *map(frame, range(1000)))
        bench.svm.sendall(wire(frame(7)))
        assert silent(bench.uplink)
        assert silent(bench.svm, 0)


def test_protected_both_guests_hear_and_agree() -> None:
    with Bench(mode=Mode.COMPARE) as bench:
        bench.uplink.sendall(wire(frame(1)) + wire(frame(2)))
        read(bench.pvm, frame(1), frame(2))
        read(bench.svm, frame(1), frame(2))
        bench.pvm.sendall(wire(frame(3)))
        assert silent(bench.uplink)
        bench.svm.sendall(wire(frame(3)))
        read(bench.uplink, frame(3))


def test_held_output_leaves_on_commit_in_order() -> None:
    with Bench(mode=Mode.HOLD) as bench:
        bench.pvm.sendall(b"".join(wire(frame(i, 60 + i)) for i in range(500)))
        while bench.engine.snapshot()[0].held_frames < 500:
            time.sleep(0.01)
        assert silent(bench.uplink, 0)
        for word in (Word.SVM_STOP, Word.PVM_STOP, Word.COMMIT):
            assert not bench.command(word).late
        read(bench.uplink, *(frame(i, 60 + i) for i in range(500)))
        assert bench.engine.snapshot()[0].mode is Mode.COMPARE


def test_a_stop_takes_in_what_was_said_before_it() -> None:
    bench = Bench(mode=Mode.HOLD)
    bench.pvm.sendall(b"".join(wire(frame(i)) for i in range(300)))
    tickets = [bench.engine.command(word) for word in (Word.SVM_STOP, Word.PVM_STOP, Word.COMMIT)]
    with bench:  # the commands are there before the ports have been looked at
        assert [event.ticket for event in bench.events(3)] == tickets
        read(bench.uplink, *map(frame, range(300)))
        bench.pvm.sendall(wire(frame(1000)))
        assert silent(bench.uplink)


def stamped(bench: Bench, *words: tuple[Word, int]) -> list[bool]:
    return [bench.command(word, stamp).late for word, stamp in words]


def test_a_pvm_that_may_run_again_is_not_drained() -> None:
    """A stream tells no times: what is read after the word may have been said after the stop, too."""
    bench = Bench(mode=Mode.COMPARE)
    bench.pvm.sendall(wire(frame(1)))
    stop = time.time_ns()
    for word, stamp in ((Word.SVM_STOP, stop), (Word.PVM_STOP, stop), (Word.COMMIT, stop + 10**9)):
        bench.engine.command(word, stamp)
    with bench:  # the words are there before the ports have been looked at
        assert [event.late for event in bench.events(3)] == [False] * 3
        assert silent(bench.uplink)
        bench.svm.sendall(wire(frame(1)))
        read(bench.uplink, frame(1))


def test_what_was_received_before_the_pvm_ran_again_leaves() -> None:
    with Bench(mode=Mode.COMPARE) as bench:
        stop = time.time_ns()
        bench.pvm.sendall(wire(frame(1)))  # was on its way
        until(lambda: bench.engine.snapshot()[0].held_frames == 1)
        runs = time.time_ns()
        assert not any(stamped(bench, (Word.SVM_STOP, stop), (Word.PVM_STOP, stop), (Word.COMMIT, runs)))
        read(bench.uplink, frame(1))


def test_what_may_have_been_said_after_the_stop_is_not_committed() -> None:
    """The word came after the PVM ran again: what was received between the two was taken for old."""
    with Bench(mode=Mode.COMPARE) as bench:
        stop = time.time_ns()
        runs = stop + 1
        bench.pvm.sendall(wire(frame(1)))
        until(lambda: bench.engine.snapshot()[0].held_frames == 1)
        late = stamped(bench, (Word.SVM_STOP, stop), (Word.PVM_STOP, stop), (Word.COMMIT, runs))
        assert late == [False, False, True]
        assert silent(bench.uplink)
        bench.command(Word.ABORT)
        assert silent(bench.uplink)
        assert not any(stamped(bench, *((word, 0) for word in (Word.SVM_STOP, Word.PVM_STOP, Word.COMMIT))))
        read(bench.uplink, frame(1))


def test_the_old_svms_last_words_may_be_on_their_way_until_it_runs_again() -> None:
    with Bench(mode=Mode.COMPARE) as bench:
        stop = time.time_ns()
        bench.command(Word.SVM_STOP, stop)
        bench.svm.sendall(wire(frame(1)))
        until(lambda: bench.engine.snapshot()[0].ports[Port.SECONDARY].received == 1)
        time.sleep(0.01)
        bench.command(Word.SVM_LOADED, time.time_ns())
        bench.svm.sendall(wire(frame(2)))
        until(lambda: bench.engine.snapshot()[0].ports[Port.SECONDARY].received == 2)
        assert bench.engine.snapshot()[0].dropped[Drop.OLD_EPOCH] == 1
        assert not any(stamped(bench, (Word.PVM_STOP, stop), (Word.COMMIT, time.time_ns())))
        bench.pvm.sendall(wire(frame(2)))
        read(bench.uplink, frame(2))
        bench.pvm.sendall(wire(frame(1)))
        assert silent(bench.uplink)


def test_a_commit_that_was_posted_before_the_end_is_kept() -> None:
    bench = Bench(mode=Mode.HOLD)
    bench.pvm.sendall(b"".join(wire(frame(i)) for i in range(300)))
    for word in (Word.SVM_STOP, Word.PVM_STOP, Word.COMMIT):
        bench.engine.command(word)
    bench.engine.stop()
    with bench:
        read(bench.uplink, *map(frame, range(300)))


def test_what_waits_for_the_uplinks_peer_leaves_before_the_end_and_what_is_held_does_not() -> None:
    with Bench(mode=Mode.PASS) as bench:
        big = [frame(i, 60_000) for i in range(20)]

        def send() -> None:
            with suppress(OSError):  # not all of it will be read
                bench.pvm.sendall(b"".join(map(wire, big)))

        sender = threading.Thread(target=send)
        sender.start()
        before, released = -1, 0
        while released < 3 or released != before:  # the PVM is not read while something waits for the uplink
            time.sleep(0.1)
            before, released = released, bench.engine.snapshot()[0].released
        bench.command(Word.HOLD)
        bench.engine.stop()
        read(bench.uplink, *big[:released])
        bench.thread.join(5)
        assert silent(bench.uplink)
        bench.pvm.shutdown(socket.SHUT_RDWR)
        sender.join(5)


def test_failover_gives_the_line_to_the_svm() -> None:
    with Bench(mode=Mode.COMPARE) as bench:
        bench.pvm.sendall(wire(frame(1)))
        while not bench.engine.snapshot()[0].held_frames:
            time.sleep(0.01)
        bench.command(Word.FAILOVER)
        bench.svm.sendall(wire(frame(2)))
        read(bench.uplink, frame(2))
        bench.uplink.sendall(wire(frame(3)))
        read(bench.svm, frame(3))
        assert silent(bench.pvm, 0)


def test_nics_do_not_mix_and_share_the_commands() -> None:
    with Bench(nics=3, mode=Mode.HOLD) as bench:
        for nic, (_, pvm, _) in enumerate(bench.peers):
            pvm.sendall(wire(frame(nic)))
        while sum(each.held_frames for each in bench.engine.snapshot()) < 3:
            time.sleep(0.01)
        bench.command(Word.UNPROTECT)
        for nic, (uplink, _, _) in enumerate(bench.peers):
            read(uplink, frame(nic))
            assert silent(uplink, 0)


def test_counters_tell_what_happened() -> None:
    with Bench(mode=Mode.PASS) as bench:
        bench.pvm.sendall(wire(frame(1)) + wire(frame(2, 1000)) + wire(b"short") + wire(frame(3)))
        read(bench.uplink, frame(1), frame(2, 1000), frame(3))
        bench.command(Word.UNPROTECT)  # the turn in which the frames were sent is over
        counted = bench.engine.snapshot()[0]
        assert counted.released == 3
        assert counted.released_bytes == 1200
        assert counted.ports[Port.PRIMARY].received_bytes == 1200
        assert counted.ports[Port.PRIMARY].name == "PRIMARY0"
        assert counted.ports[Port.PRIMARY].dropped[Drop.TRUNCATED] == 1
        assert counted.ports[Port.UPLINK].sent_bytes == 1200
        assert counted.mode is Mode.PASS


def test_lost_peer_is_reported_once_and_replaced() -> None:
    with Bench(mode=Mode.PASS) as bench:
        bench.pvm.sendall(wire(frame(1)) + wire(frame(2))[:30])
        bench.pvm.close()
        read(bench.uplink, frame(1))
        [fault] = bench.events(1)
        assert fault == PortFault(0, Port.PRIMARY, errno.ENOTCONN, "PRIMARY0: the peer closed the connection")
        before = bench.engine.beat
        time.sleep(0.6)
        assert bench.engine.events() == []
        assert bench.engine.beat - before < 10  # and it does not spin
        ours, theirs = socket.socketpair()
        bench.sockets += [ours, theirs]
        ours.setblocking(False)
        ticket = bench.engine.attach(0, Port.PRIMARY, ours.fileno())
        works = PortFault(0, Port.PRIMARY, 0, "PRIMARY0: works again")
        assert bench.events(2) == [Done(ticket), works]
        theirs.sendall(wire(frame(3)))
        read(bench.uplink, frame(3))


def test_a_peer_that_makes_no_sense_is_put_out() -> None:
    with Bench(mode=Mode.PASS) as bench:
        bench.svm.sendall(b"\xff" * 100)
        [fault] = bench.events(1)
        assert (fault.port, fault.errno) == (Port.SECONDARY, errno.EMSGSIZE)
        assert bench.svm.recv(1) == b""
        assert bench.engine.snapshot()[0].ports[Port.SECONDARY].dropped[Drop.OVERSIZED] == 1
        bench.pvm.sendall(wire(frame(1)))
        read(bench.uplink, frame(1))


def test_slow_uplink_slows_the_pvm_down_and_loses_nothing() -> None:
    with Bench(mode=Mode.PASS) as bench:
        frames = [frame(i, 60_000) for i in range(400)]  # 24 MB: more than any buffer on the way
        sender = threading.Thread(target=lambda: bench.pvm.sendall(b"".join(map(wire, frames))))
        bench.pvm.settimeout(30)
        sender.start()
        time.sleep(0.3)
        assert sender.is_alive()  # backpressure has reached it
        read(bench.uplink, *frames)
        sender.join()
        assert sum(bench.engine.snapshot()[0].ports[Port.UPLINK].dropped.values()) == 0


@pytest.mark.parametrize("first", [Port.PRIMARY, Port.SECONDARY])
def test_guest_that_is_ahead_waits_for_the_other(first: Port) -> None:
    with Bench(mode=Mode.COMPARE, max_flow_bytes=16 << 20, timeout_ms=60_000) as bench:
        frames = [frame(i, 60_000) for i in range(600)]  # 36 MB: more than a flow may hold
        said = b"".join(map(wire, frames))
        guests = {Port.PRIMARY: bench.pvm, Port.SECONDARY: bench.svm}
        ahead, behind = guests.pop(first), *guests.values()
        for each in (ahead, behind, bench.uplink):
            each.settimeout(60)  # for all of it, on a busy machine
        threads = [threading.Thread(target=guest.sendall, args=(said,)) for guest in (ahead, behind)]
        threads[0].start()
        time.sleep(0.2)
        assert threads[0].is_alive()
        threads[1].start()
        read(bench.uplink, *frames)
        for thread in threads:
            thread.join()
        counted = bench.engine.snapshot()[0]
        assert sum(counted.dropped.values()) == 0
        assert bench.engine.events() == []


def test_who_writes_is_not_kept_waiting_for_ever() -> None:
    """It may be the one who should read what was released, or make the checkpoint that would let it go."""
    with Bench(mode=Mode.PASS) as bench:
        said = b"".join(wire(frame(i, 60_000)) for i in range(1000))  # 60 MB, and nobody reads them
        bench.pvm.settimeout(30)
        bench.pvm.sendall(said)
        until(lambda: bench.engine.snapshot()[0].ports[Port.PRIMARY].received == 1000)
        assert bench.engine.snapshot()[0].ports[Port.UPLINK].dropped[Drop.SEND] > 0
    with Bench(mode=Mode.COMPARE) as bench:
        bench.pvm.settimeout(30)
        bench.pvm.sendall(said)  # and the SVM says nothing
        until(lambda: bench.engine.snapshot()[0].ports[Port.PRIMARY].received == 1000)
        assert bench.engine.snapshot()[0].dropped[Drop.MEMORY] > 0
        assert silent(bench.uplink)


def test_with_nothing_but_comparison_clients_frames_go_nowhere() -> None:
    with Bench(mode=Mode.COMPARE, compare_only=True) as bench:
        bench.uplink.sendall(wire(frame(1)))
        bench.pvm.sendall(wire(frame(2)))
        bench.svm.sendall(wire(frame(2)))
        read(bench.uplink, frame(2))
        assert silent(bench.pvm)
        assert silent(bench.svm, 0)


def test_absent_uplink_is_waited_for() -> None:
    bench = Bench(mode=Mode.PASS)
    bench.engine.attach(0, Port.UPLINK, -1)
    with bench:
        bench.pvm.sendall(b"".join(wire(frame(i)) for i in range(100)))
        time.sleep(0.2)
        ours, theirs = socket.socketpair()
        bench.sockets += [ours, theirs]
        ours.setblocking(False)
        theirs.settimeout(5)
        bench.engine.attach(0, Port.UPLINK, ours.fileno())
        read(theirs, *map(frame, range(100)))


def test_stuck_svm_does_not_slow_the_pvm_down() -> None:
    with Bench(mode=Mode.COMPARE) as bench:
        for i in range(400):  # the SVM reads nothing of 24 MB
            bench.uplink.sendall(wire(frame(i, 60_000)))
            read(bench.pvm, frame(i, 60_000))
        assert bench.engine.snapshot()[0].ports[Port.SECONDARY].dropped[Drop.SEND] > 0


def test_idle_it_turns_slowly_and_costs_nothing() -> None:
    with Bench() as bench:
        time.sleep(0.1)
        beat, cpu = bench.engine.beat, time.process_time()
        time.sleep(1.1)
        assert 2 <= bench.engine.beat - beat <= 5
        assert time.process_time() - cpu < 0.1


def test_too_many_commands_are_refused_and_none_is_lost() -> None:
    bench = Bench()
    tickets = [bench.engine.command(Word.HOLD) for _ in range(255)]
    with pytest.raises(BlockingIOError, match="255 commands wait"):
        bench.engine.command(Word.HOLD)
    with bench:
        assert [event.ticket for event in bench.events(255)] == tickets
        bench.command(Word.HOLD)


def test_flows_come_with_the_answer() -> None:
    with Bench(mode=Mode.HOLD) as bench:
        bench.pvm.sendall(wire(frame(1)))
        while not bench.engine.snapshot()[0].held_frames:
            time.sleep(0.01)
        ticket = bench.engine.request_flows()
        [done] = bench.events(1)
        assert done.ticket == ticket
        assert [flow.held_frames for flow in done.flows] == [1]
        assert done.flows[0].nic == 0


def of_flow(number: int) -> bytes:
    """A frame of a flow of its own."""
    return frame(number, ethertype=(0x9000 + number).to_bytes(2, "big"))


def listed(bench: Bench, most: int = 512) -> list[FlowInfo]:
    """All flows, asked for in pages."""
    after, found = 0, []
    while after is not None:
        bench.engine.request_flows(after, most)
        [done] = bench.events(1)
        assert len(done.flows) <= most
        found += done.flows
        after = done.after
    return found


def test_flows_come_in_pages_each_exactly_once() -> None:
    with Bench(nics=3, mode=Mode.HOLD) as bench:
        for nic, count in ((0, 1500), (2, 3)):
            for number in range(count):
                bench.peers[nic][Port.PRIMARY].sendall(wire(of_flow(number)))
        until(lambda: [nic.flows for nic in bench.engine.snapshot()] == [1500, 0, 3])
        for most in (512, 100, 7):
            flows = listed(bench, most)
            assert [flow.nic for flow in flows] == [0] * 1500 + [2] * 3
            assert len({(flow.nic, flow.flow) for flow in flows}) == 1503
            ids = [flow.id for flow in flows]
            assert ids == sorted(set(ids))
        bench.engine.request_flows(ids[-1])
        [done] = bench.events(1)
        assert (done.flows, done.after) == ((), None)
        bench.engine.request_flows(2**64 - 1)
        [done] = bench.events(1)
        assert (done.flows, done.after) == ((), None)


def test_a_flow_that_lives_throughout_is_listed_once_whatever_else_happens() -> None:
    """While pages are asked for, flows are used, evicted, and made anew in the evicted ones' memory."""
    with Bench(mode=Mode.COMPARE, max_flows=300) as bench:

        def say(number: int) -> None:
            data = of_flow(number)
            bench.pvm.sendall(wire(data))
            bench.svm.sendall(wire(data))
            read(bench.uplink, data)

        kept = range(0, 300, 3)
        for number in range(300):
            say(number)
        after, found, fresh = 0, [], 300
        while after is not None:
            bench.engine.request_flows(after, 40)
            [done] = bench.events(1)
            found += done.flows
            after = done.after
            for number in kept:
                say(number)
            time.sleep(0.11)  # the order of use is kept to a tenth of a second
            for number in kept:
                say(number)
            for _ in range(20):
                say(fresh)
                fresh += 1
        names = [flow.flow for flow in found]
        of_the_kept = [name for name in names if int(name.split()[1], 16) in {0x9000 + n for n in kept}]
        assert len(of_the_kept) == len(set(of_the_kept)) == len(kept)


def test_stop_before_run_and_run_once() -> None:
    bench = Bench()
    bench.engine.stop()
    with bench:
        bench.thread.join(timeout=5)
    with pytest.raises(RuntimeError, match="once"):
        bench.engine.run()
    with pytest.raises(RuntimeError, match="before the engine runs"):
        bench.engine.add_nic(*[PortSpec(-1, "stream", "late")] * 3)


def test_a_bad_descriptor_is_named() -> None:
    engine = Engine()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        good = PortSpec(ours.fileno(), "stream", "good")
        with pytest.raises(ValueError, match=r"bad: .* blocking"):
            engine.add_nic(good, PortSpec(theirs.fileno(), "stream", "bad"), good)
        assert engine.add_nic(good, good, good) == 0


@contextmanager
def nothing_left_open() -> Iterator[None]:
    before = (len(list(Path("/proc/self/fd").iterdir())), threading.active_count())
    yield
    assert (len(list(Path("/proc/self/fd").iterdir())), threading.active_count()) == before


def test_engines_leave_nothing_behind() -> None:
    with nothing_left_open():
        for _ in range(20):
            bench = Bench(mode=Mode.HOLD)
            with bench:
                bench.pvm.sendall(wire(frame(1)))
                bench.command(Word.HOLD)
                bench.engine.request_flows()  # and nobody takes the answer
            del bench
