"""UDP that the guest begins: each guest asks a DNS server from the port that its own kernel has drawn."""

from contextlib import ExitStack
from socket import socket

import pytest
from colo_lab import dns
from colo_lab.protected import Protected

QUERY = dns.query(0x1234, "www.example.org")
ANSWER = dns.answer(QUERY, "192.0.2.80")
VERSIONS = pytest.mark.parametrize("version", [4, 6])


class Asking(ExitStack):
    """A DNS server beyond the bridge, and a socket of each guest for it, on two different ports."""

    def __init__(self, pair: Protected, version: int) -> None:
        super().__init__()
        self.topology = pair.lab.topology
        nic = self.topology.nics[0]
        self.address = nic.client4 if version == 4 else nic.client6
        self.server = self.enter_context(dns.server(self.topology.client, self.address))
        self.pvm = self.enter_context(dns.resolver(self.topology.pvm, self.address))
        self.svm = self.enter_context(dns.resolver(self.topology.svm, self.address))
        if port(self.svm) == port(self.pvm):
            self.svm = self.enter_context(dns.resolver(self.topology.svm, self.address))
        assert port(self.svm) != port(self.pvm)

    def ask(self, *guests: socket) -> None:
        """They ask, in this order, and are answered."""
        for guest in guests:
            guest.send(QUERY)
        asked, address = self.server.recvfrom(4096)
        assert (asked, address[1]) == (QUERY, port(self.pvm))
        self.server.sendto(ANSWER, address)
        for guest in guests:
            assert guest.recv(4096) == ANSWER


def port(sock: socket) -> int:
    return int(sock.getsockname()[1])


@VERSIONS
@pytest.mark.parametrize("svm_first", [False, True])
def test_a_query_and_its_answer(pair: Protected, version: int, svm_first: bool) -> None:
    """The query waits for nothing but the other guest's, and each guest gets the answer at its own port."""
    with Asking(pair, version) as asking:
        sent = dns.unreachable(asking.topology.svm)
        guests = (asking.svm, asking.pvm) if svm_first else (asking.pvm, asking.svm)
        asking.ask(*guests)
        asking.ask(*guests)
        assert dns.unreachable(asking.topology.svm) == sent
    assert pair.later == []
    (flow,) = [flow for flow in pair.proxy.flows() if flow["flow"].startswith("udp")]
    assert flow["divergences"] == 0


@VERSIONS
def test_a_server_that_is_not_there(pair: Protected, version: int) -> None:
    """The ICMP error quotes the PVM's query; each guest's socket knows it for its own."""
    with Asking(pair, version) as asking:
        asking.server.close()
        for guest in (asking.pvm, asking.svm):
            guest.send(QUERY)
        for guest in (asking.pvm, asking.svm):
            with pytest.raises(ConnectionRefusedError):
                guest.recv(4096)
    assert pair.later == []


@VERSIONS
def test_after_a_failover(pair: Protected, version: int) -> None:
    """The server goes on knowing the VM by the port of the PVM's, in answers and in errors."""
    with Asking(pair, version) as asking:
        asking.ask(asking.pvm, asking.svm)
        pair.vmm.fail_over()
        sent = dns.unreachable(asking.topology.svm)
        asking.ask(asking.svm)
        later = asking.enter_context(dns.resolver(asking.topology.svm, asking.address))
        later.send(QUERY)
        _, address = asking.server.recvfrom(4096)
        assert address[1] == port(later)  # one that the PVM never had stays what it is
        asking.server.sendto(ANSWER, address)
        assert later.recv(4096) == ANSWER
        assert dns.unreachable(asking.topology.svm) == sent
        asking.server.close()
        asking.svm.send(QUERY)
        with pytest.raises(ConnectionRefusedError):
            asking.svm.recv(4096)
