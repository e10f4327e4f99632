"""A real pair whose SVM is reached through QEMU's own filter-redirectors, over TCP: docs/qemu.md."""

import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from colo_vm.debian import LabError
from colo_vm.stage import URL, Stage
from vm.test_pair import end_of, force, right

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

PAGE = (Path(__file__).parents[2] / "docs" / "qemu.md").read_text()
HOST = "127.0.0.1"  # in the page's place for host A


def objects() -> list[str]:
    """The page's chardevs and objects of the SVM."""
    found = re.search(r"## Without a tunnel.*?```sh\n(.*?)```", PAGE, re.DOTALL)
    assert found
    words = found[1].replace("\\\n", " ").replace("198.51.100.11", HOST).split()
    return words[words.index("-chardev") : words.index("…", words.index("-chardev"))]


def ports() -> str:
    """The page's `secondary`, and what follows it."""
    found = re.search(r"secondary = (\{ in = .*?)```", PAGE, re.DOTALL)
    assert found
    return found[1].replace("198.51.100.11", HOST)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    if os.geteuid() != 0 or not Path("/dev/net/tun").exists():
        if os.environ.get("CI") == "true":
            pytest.fail("a real pair needs root and /dev/net/tun")
        pytest.skip("a real pair needs root and /dev/net/tun")
    try:
        async with Stage() as stage:
            stage.pair.svm_extra = objects()
            await stage.pair.start()
            await stage.start_proxy("3000", ports())
            await stage.pair.protect()
            await stage.until_state("protected")
            try:
                yield stage
            finally:
                print(stage.said())
    except LabError as error:
        pytest.fail(str(error))


async def test_downloads_cost_no_checkpoint_and_divergences_one_each(stage: Stage) -> None:
    runs = await stage.fetch("/64m", "--times", "3")
    assert all(right(run) for run in runs), runs
    assert stage.surprises() == []
    before = stage.checkpoints()
    answers = await stage.fetch("/cgi-bin/clock", "--times", "10")
    assert all(answer.get("complete") for answer in answers)
    assert stage.checkpoints() - before == 10


async def test_checkpoints_in_mid_download_and_the_pvms_death(stage: Stage) -> None:
    client = await stage.client(URL + "/64m", "--pace", "16000000", "--mark", "1000000")
    await force(stage, 20)
    assert client.stdout is not None
    await client.stdout.readline()
    stage.pair.pvm.kill()
    run = await end_of(client)
    assert right(run), run
    print(f"longest silence {run['longest_silence']:.3f} s")
    await stage.until_state("failed-over")
    (run,) = await stage.fetch("/64m")
    assert right(run)
