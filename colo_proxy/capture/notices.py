"""What to know of two captures before believing a verdict on them: texts for a person, one line each."""

from collections.abc import Iterator

from colo_proxy.capture.origin import Survey, drawing_to_groups, mac_text, mirrored, to_groups_alone
from colo_proxy.capture.reader import NS, Capture
from colo_proxy.capture.result import Result
from colo_proxy.capture.tap import Tap


def of_addresses(taps: tuple[Tap, Tap], surveys: tuple[Survey, Survey]) -> Iterator[str]:
    """Frames that are nobody's whom we look at, and addresses that send in one capture alone."""
    for tap, seen in zip(taps, surveys, strict=True):
        if tap.strays:
            frames = (
                "1 unicast frame neither comes from nor goes"
                if tap.strays == 1
                else f"{tap.strays:,} unicast frames neither come from nor go"
            )
            yield (
                f"{tap.path}: {frames} to {' or '.join(map(mac_text, tap.vms))}; "
                "if the VM has another address, give each of them as --vm-mac"
            )
        for vm in tap.vms:
            if seen.frames and vm not in seen.sources:
                yield f"{tap.path}: {mac_text(vm)} sent nothing in it; was it captured at the right port?"
    for vm, others in mirrored(*surveys, taps[0].vms):
        others_text = " and ".join(map(mac_text, others))
        yield (
            f"{mac_text(vm)} sends the same in both captures, as clients do, and {others_text} "
            f"{'does' if len(others) == 1 else 'do'} not; give as --vm-mac the VM's addresses alone"
        )
    for tap, seen, other in zip(taps, surveys, surveys[::-1], strict=True):
        for address in to_groups_alone(seen, other, tap.vms):
            yield (
                f"{tap.path}: {mac_text(address)} sends to groups, and only in this capture; not compared; "
                "if it is the VM's address, too, give it as another --vm-mac"
            )
    for address in drawing_to_groups(*surveys, taps[0].vms):
        yield (
            f"{mac_text(address)} sends other frames to groups in each capture, which are not compared; "
            "if it is the VM's address, too, give it as another --vm-mac"
        )


def of_nothing(taps: tuple[Tap, Tap], result: Result) -> Iterator[str]:
    """That there was nothing to compare."""
    if result.verdict != "incomplete" or result.not_compared:
        return
    without = [tap for tap in taps if not tap.comparable]
    whose = "neither capture has a" if len(without) == len(taps) else f"{without[0].path}: has no"
    kinds = " that is compared (ARP, for instance, is not)" if any(tap.frames for tap in without) else ""
    yield f"{whose} frame of the VM{kinds}, so nothing was compared"


def of_withheld(primary: Tap, result: Result) -> Iterator[str]:
    """That acknowledgements, which alone may wait where nothing differs (M3), waited to the end."""
    if result.verdict == "identical" and result.held_frames:
        those = (
            "1 acknowledgement of the PVM was"
            if result.held_frames == 1
            else f"{result.held_frames:,} acknowledgements of the PVM were"
        )
        yield (
            f"{primary.path}: {those} still withheld when the captures ended, because the SVM had not "
            "acknowledged or offered as much"
        )


def of_shift(
    taps: tuple[Tap, Tap], surveys: tuple[Survey, Survey], shift: int, result: Result, timeout: int
) -> Iterator[str]:
    """That the secondary's times were moved by `shift`, or may have to be; in ns."""
    (primary, secondary), (pvm, svm) = taps, surveys
    if shift:
        yield (
            f"{secondary.path}: does not overlap {primary.path} in time; its times "
            f"were moved by {shift / 1e9:+.6f} s, so that both begin together"
        )
        return
    later = svm.first - pvm.first if pvm.frames and svm.frames else 0
    missing = any(each.reason.label.startswith("missing") for each in result.divergences)
    if missing and abs(later) > timeout:
        yield (
            f"{secondary.path}: begins {abs(later) / 1e9:.6f} s {'after' if later > 0 else 'before'} "
            f"{primary.path}; if it is their clocks that differ, move its times (editcap -t "
            f"{-later / 1e9:.6f}) and compare again"
        )


def of_file(capture: Capture, tap: Tap) -> Iterator[str]:
    """What is wrong with a file, and with its times."""
    if capture.zeros:
        yield (
            f"{tap.path}: its last {capture.zeros:,} bytes are zeros, not frames; "
            "the file was damaged, and the frames that were there are lost"
        )
    times = tap.times
    if times.ahead:
        others = f", and {times.ahead - 1:,} more" if times.ahead > 1 else ""
        yield (
            f"{tap.path}: frame {times.first_ahead:,}{others} is dated {times.by / NS:,.6f} s ahead of the "
            "frame after it; it got the time of the frame before it"
        )
    if times.back:
        yield (
            f"{tap.path}: times go back by up to {times.back_by / NS:,.6f} s, first at frame "
            f"{times.first_back:,}; {times.back:,} frames got the time of the frame before them"
        )


def of_frames(taps: tuple[Tap, Tap]) -> Iterator[str]:
    """What one tap has done to the frames and the other has not."""
    for tap, other in (taps, taps[::-1]):
        if tap.twice > other.twice:
            frames = "1 frame" if tap.twice == 1 else f"{tap.twice:,} frames"
            yield (
                f"{tap.path}: {frames} of the VM's {tap.frames:,} are in it twice, byte for byte; if they "
                "were captured twice, remove the copies (editcap -d) and compare again"
            )
        if tap.tags and other.frames and not other.tags:
            named = ", ".join(map(str, sorted(tap.tags)[:8]))
            yield (
                f"{other.path}: none of the VM's frames has a VLAN tag, while in {tap.path} there are tags "
                f"of VLAN {named}; if a tap has removed them, capture where they are still there"
            )
