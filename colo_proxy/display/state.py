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
    if state == "protected" and any(_svm_is_cut_off(nic) for nic in status["nics"]):
        return "but the SVM cannot take over while its port has a fault"
    if state == "protected" and status["bypassed_frames"]:
        return f"but for {let_by(status)}"
    return MEANING[state]


def let_by(status: dict[str, Any]) -> str:
    """How much of the output nobody has compared, because a rule says so."""
    return f"{counted(status['bypassed_frames'], 'frame')} bypassed by rules"


def _svm_is_cut_off(nic: dict[str, Any]) -> bool:
    """Faults name a port by its interface, or as the endpoint is written."""
    endpoint = str(nic["secondary"])
    interface = endpoint.partition(":")[2].partition(",")[0]
    return bool({endpoint, interface} & set(nic["faults"]))


MEANING = {
    "unprotected": "there is no replica; the PVM's output is released",
    "protected": "the SVM can take over at any time",
    "requested": "output is held until the VMM has made a checkpoint",
    "stopped": "a checkpoint is being made; output is held until its commit",
    "failed-over": "the SVM is the service",
    "observing": "the PVM's output is released; divergences are counted",
}
