"""The command line: one file a command, imported when the command is used.

`colo-proxy run` reloads on SIGHUP, which would end a process that has no handler for it yet. So the signal is
blocked here, before anything that takes long to import, and waits until `daemon.reload` has its handler.
Children would inherit what is blocked: one that is forked unblocks it. (The proxy starts no other program.)
"""

import os
import signal
import sys
from functools import partial


def _keep_hangup_waiting() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    os.register_at_fork(after_in_child=partial(signal.pthread_sigmask, signal.SIG_UNBLOCK, {signal.SIGHUP}))


if sys.argv[1:2] == ["run"]:
    _keep_hangup_waiting()
