"""The right to speak for a VM that two hosts protect.

It is to be decided by one compare-and-swap in a store that others have built, so that at most one host sends
for the VM at any time. `record` is what the store holds, `table` the states and every transition, `machine`
what they do, `directory` and `etcd` two stores; `asking` and `arbiter` ask them without waiting.
`note` is what a host knows past a power failure, `founding` and `standing` what `colo-proxy pair` does.
docs/pair-protocol.md explains it. The data path does not know of it yet.
"""
