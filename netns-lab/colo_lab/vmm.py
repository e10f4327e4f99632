"""The lab's VMM: stops the VMs, carries the PVM's state to the SVM, lets both run again."""

from .vm import Vm


def stop_both(pvm: Vm, svm: Vm) -> None:
    """Stop the SVM, then the PVM. Frames wait for both from the moment the PVM has stopped: what only the
    SVM missed before is part of the state that it is about to get."""
    svm.stop()
    pvm.stop()
    pvm.keep_frames()
    svm.keep_frames()


def copy_state(pvm: Vm, svm: Vm) -> dict[str, int]:
    """Stop both and make the SVM the PVM; both stay stopped. Returns what was carried and what lost."""
    stop_both(pvm, svm)
    return svm.load(pvm.dump())
