"""What Python uses of the compiled aligner.pyx."""

from colo_proxy.compiled import from_svm, quoted_flow, quoted_from_svm, quoted_to_svm, to_svm

__all__ = ["from_svm", "quoted_flow", "quoted_from_svm", "quoted_to_svm", "to_svm"]
