"""The state of a proxy in a person's words."""

from typing import Any

from colo_proxy.display.tables import counted


def state_of(status: dict[str, Any]) -> str:
    """The state in a person's word: with nobody to ask for checkpoints, it is meant to be unprotected."""
    observing = status["vmm"] == "none" and status["state"] == "unprotected"
    return "observing" if observing else str(status["state"])


def meaning(status: dict[str, Any]) -> str:
    """What the state means now."""
    state = state_of(status)
    if state == "requested" and status["reason"] in _HOLDING:
        return "all output is held until the VMM has made a checkpoint"
    return MEANING[state]


def why(status: dict[str, Any]) -> str:
    """Why a checkpoint is wanted; `reason` itself, which logs and metrics have, where it is one of theirs."""
    reason = str(status["reason"])
    return WHY.get(reason, f"the outputs differ ({reason})")


def described(status: dict[str, Any], state: str) -> str:
    """The state, written as `state`, with what it means: `protected: the SVM can take over at any time`."""
    if state_of(status) == "protected" and svm_is_cut_off(status):
        return f"{state}, but the SVM cannot take over while its port has a fault"
    if excepts(status):
        return f"{state}, except for what rules bypass ({counted(status['bypassed_frames'], 'frame')} so far)"
    return f"{state}: {meaning(status)}"


def excepts(status: dict[str, Any]) -> bool:
    """Whether the state's own line says what rules bypass."""
    return bool(status["bypassing"] and state_of(status) == "protected" and not svm_is_cut_off(status))


def svm_is_cut_off(status: dict[str, Any]) -> bool:
    """Whether the SVM's port of a NIC has a fault."""
    return any(_is_cut_off(nic) for nic in status["nics"])


def _is_cut_off(nic: dict[str, Any]) -> bool:
    """Faults name a port by its interface, or as the endpoint is written."""
    endpoint = str(nic["secondary"])
    interface = endpoint.partition(":")[2].partition(",")[0]
    return bool({endpoint, interface} & set(nic["faults"]))


_HOLDING = ("start", "aborted")  # reasons of a checkpoint before which nothing is compared

WHY = {
    "start": "the proxy has started and does not know the SVM's state",
    "aborted": "the last one was aborted",
    "operator": "an operator requested it",
    "period": "period_ms has passed since the last one",
    "memory": "the bound on held bytes was reached (memory)",
    "flows": "the bound on flows was reached (flows)",
    "missing-primary": "the PVM has not sent what the SVM sent (missing-primary)",
    "missing-secondary": "the SVM has not sent what the PVM sent (missing-secondary)",
}

MEANING = {
    "unprotected": "there is no replica; the PVM's output is released",
    "protected": "the SVM can take over at any time",
    "requested": "what differs is held until the VMM has made a checkpoint",
    "stopped": "a checkpoint is being made; output is held until its commit",
    "failed-over": "the SVM is the service",
    "observing": "the PVM's output is released; divergences are counted",
}
