"""The machine's chance: drawn in advance, given once."""

from __future__ import annotations

import os
import sys
from threading import Thread

import pytest

from stepwell.backends.clock import SystemClock


def test_random_bytes_have_the_length_asked_for_and_differ() -> None:
    clock = SystemClock()
    drawn = [clock.random_bytes(size) for size in (6, 7, 16, 17, 32) for _ in range(1000)]
    assert {len(item) for item in drawn} == {6, 7, 16, 17, 32}
    assert len(set(drawn)) == len(drawn)


def test_threads_never_get_the_same_bytes() -> None:
    clock = SystemClock()
    drawn: list[bytes] = []
    threads = [Thread(target=lambda: drawn.extend([clock.random_bytes(16) for _ in range(3000)])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(drawn)) == 24_000


if sys.platform != "win32":

    @pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
    def test_a_forked_process_draws_its_own() -> None:
        clock = SystemClock()
        clock.random_bytes(16)
        reading, writing = os.pipe()
        if os.fork() == 0:
            os.write(writing, clock.random_bytes(16))
            os._exit(0)
        os.wait()
        assert os.read(reading, 16) != clock.random_bytes(16)
        os.close(reading)
        os.close(writing)
