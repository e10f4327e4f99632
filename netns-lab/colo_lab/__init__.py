"""A laboratory for colo-proxy: clients, a bridge and a pair of replicas in network namespaces.

Everything the lab makes is anonymous and tied to processes: a namespace lives as long as a
descriptor or a process keeps it, and takes its links along. Only a run directory (markers.py) and,
after a crash, a process that survived its parent can stay behind; `python -m colo_lab sweep`
removes both.
"""
