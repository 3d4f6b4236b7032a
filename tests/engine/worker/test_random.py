"""Random numbers as the wire prescribes them."""

from __future__ import annotations

from uuid import UUID

from stepwell.engine.worker.random import WireRandom


def test_a_run_draws_the_numbers_that_a_body_in_javascript_draws() -> None:
    random = WireRandom("r_chain")

    assert random.random() == 0.15522163663990796
    assert UUID(int=random.getrandbits(128), version=4) == UUID("419977a4-fa0d-40ab-aa73-9dbcf3388574")


def test_ids_are_hashed_by_their_utf16_code_units() -> None:
    assert WireRandom("r_é").random() != WireRandom("r_e").random()
    assert WireRandom("r_\U0001f600").random() == WireRandom("r_\ud83d\ude00").random()


def test_two_generators_of_a_run_draw_alike() -> None:
    one, other = WireRandom("r_1"), WireRandom("r_1")

    assert [one.gauss(0, 1), one.randrange(10**9), one.sample(range(100), 5)] == [
        other.gauss(0, 1),
        other.randrange(10**9),
        other.sample(range(100), 5),
    ]


def test_a_state_can_be_gone_back_to() -> None:
    random = WireRandom("r_1")
    state = random.getstate()
    first = [random.gauss(0, 1) for _ in range(3)]

    random.setstate(state)

    assert [random.gauss(0, 1) for _ in range(3)] == first


def test_bits_are_as_many_as_asked_for() -> None:
    random = WireRandom("r_1")

    assert all(random.getrandbits(k) < 2**k for k in range(1, 70))
    assert random.getrandbits(0) == 0
