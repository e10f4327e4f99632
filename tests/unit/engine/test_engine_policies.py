"""What the data path counts of policies: by rule, over all NICs, until the list is replaced."""

from unit.core.test_bounds import packet
from unit.engine.ports.test_qemu_socket import wire
from unit.engine.test_engine import Bench, frame, read

from colo_proxy.core.policy import PolicyRule
from colo_proxy.vocabulary import Mode


def test_frames_of_the_pvm_are_counted_by_the_rule_that_decides_on_any_nic_until_the_list_is_replaced() -> (
    None
):
    rules = [
        PolicyRule({"ethertype": 0x88B5}, "bypass"),
        PolicyRule({"ethertype": 0x88B6}, "drop"),
        PolicyRule({}, "compare"),
    ]
    with Bench(nics=2, mode=Mode.COMPARE) as bench:
        assert bench.engine.policy_frames() == []
        bench.engine.set_policies(rules)
        bench.events(1)
        assert bench.engine.policy_frames() == [(rule, 0) for rule in rules]
        for nic, bypassed in ((0, 3), (1, 2)):
            uplink, pvm, svm = bench.peers[nic]
            svm.sendall(wire(frame(0)) + wire(frame(7, ethertype=b"\x88\xb7")))
            out = [frame(number) for number in range(bypassed)]
            compared = frame(7, ethertype=b"\x88\xb7")
            for each in (*out, frame(9, ethertype=b"\x88\xb6"), compared):
                pvm.sendall(wire(each))
            read(uplink, *out, compared)
        assert [count for _, count in bench.engine.policy_frames()] == [5, 2, 2]
        bench.engine.set_policies(rules[:1])
        assert bench.engine.policy_frames() == [(rules[0], 0)]
        bench.events(1)
        bench.pvm.sendall(wire(frame(1)))
        read(bench.uplink, frame(1))
        assert bench.engine.policy_frames() == [(rules[0], 1)]


def test_each_fragment_of_a_datagram_that_a_rule_decides_on_is_a_frame() -> None:
    parts = [packet(17, bytes(16), fragment=0x2000, name=5), packet(17, bytes(8), fragment=2, name=5)]
    with Bench(mode=Mode.COMPARE) as bench:
        rule = PolicyRule({"protocol": "udp"}, "bypass")
        bench.engine.set_policies([rule])
        bench.events(1)
        for part in parts:
            bench.pvm.sendall(wire(part))
        read(bench.uplink, *parts)
        assert bench.engine.policy_frames() == [(rule, 2)]
