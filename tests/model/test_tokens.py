"""Hook tokens: resolved without a table, and only by the run that issued them."""

from __future__ import annotations

from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.model.ids import CommandId, RunId
from stepwell.model.tokens import (
    NO_OPTIONS,
    HookOptions,
    hook_key,
    is_genuine,
    make_token,
    make_worker_token,
    parse_token,
)

SEED, OTHER = "00" * 16, "01" * 16
NOT_UTF8 = urlsafe_b64encode(b"\xff").decode().rstrip("=")

BAD_JSON = urlsafe_b64encode(b"{").decode().rstrip("=")
FULL = HookOptions(request=True, respond=True, signed_by="github", methods=("GET", "POST"))

names = st.text(min_size=1).filter(lambda text: text.isprintable())


@given(run=names, command=names, base=st.integers(min_value=1, max_value=2**40))
def test_a_token_tells_whose_it_is(run: str, command: str, base: int) -> None:
    parsed = parse_token(make_token(RunId(run), base, CommandId(command), SEED))

    assert parsed is not None
    assert (parsed.run, parsed.base, parsed.command) == (run, base, command)
    assert is_genuine(parsed, SEED)
    assert not is_genuine(parsed, OTHER)


@pytest.mark.parametrize(
    "token",
    ["", "my own token", "hk_", "hk_a.b.c.d", "hk_a.b.1", "a.b.1.c", f"hk_{NOT_UTF8}.YQ.1.x", "hk_\ud800.YQ.1.x"]
    + [f"hk_YQ.YQ.1.{part}.x" for part in ("", "!", NOT_UTF8, BAD_JSON)],
)
def test_other_text_is_no_token(token: str) -> None:
    assert parse_token(token) is None


def test_a_token_for_another_hook_is_not_genuine() -> None:
    parsed = parse_token(make_token(RunId("run"), 1, CommandId("hook"), SEED))
    other = parse_token(make_token(RunId("run"), 1, CommandId("hook:2"), SEED))
    assert parsed is not None
    assert other is not None

    assert parsed.proof != other.proof


@given(
    options=st.builds(
        HookOptions,
        request=st.booleans(),
        respond=st.booleans(),
        signed_by=st.text(max_size=8),
        methods=st.lists(st.sampled_from(["GET", "POST"])).map(tuple),
    )
)
def test_a_token_tells_what_its_door_must_know(options: HookOptions) -> None:
    parsed = parse_token(make_token(RunId("run"), 1, CommandId("hook"), SEED, options))

    assert parsed is not None
    assert parsed.options == options
    assert is_genuine(parsed, SEED)
    assert not is_genuine(parsed, OTHER)


def test_a_token_without_options_is_as_short_as_ever() -> None:
    assert make_token(RunId("run"), 1, CommandId("hook"), SEED, NO_OPTIONS).count(".") == 3


def test_nobody_changes_what_a_token_says_of_its_door() -> None:
    full = make_token(RunId("run"), 1, CommandId("hook"), SEED, FULL).split(".")
    plain = make_token(RunId("run"), 1, CommandId("hook"), SEED).split(".")
    unsigned = make_token(RunId("run"), 1, CommandId("hook"), OTHER, HookOptions(request=True)).split(".")

    for forged in ([*full[:3], full[4]], [*plain[:3], full[3], plain[3]], [*full[:3], unsigned[3], full[4]]):
        parsed = parse_token(".".join(forged))
        assert parsed is not None
        assert not is_genuine(parsed, SEED)


@given(
    run=names,
    command=names,
    base=st.integers(min_value=1, max_value=2**40),
    options=st.sampled_from([NO_OPTIONS, FULL]),
)
def test_a_worker_makes_tokens_that_the_run_knows_for_its_own(
    run: str, command: str, base: int, options: HookOptions
) -> None:
    key = hook_key(RunId(run), base, SEED)

    parsed = parse_token(make_worker_token(RunId(run), base, CommandId(command), key, options))

    assert parsed is not None
    assert (parsed.run, parsed.base, parsed.command, parsed.options) == (run, base, command, options)
    assert is_genuine(parsed, SEED)
    assert not is_genuine(parsed, OTHER)


def test_the_key_of_a_worker_is_good_for_one_generation_of_one_run() -> None:
    key = hook_key(RunId("run"), 1, SEED)

    assert (
        len({key, hook_key(RunId("run"), 2, SEED), hook_key(RunId("run:2"), 1, SEED), hook_key(RunId("run"), 1, OTHER)})
        == 4
    )
    for run, base in (("run", 2), ("other", 1)):
        parsed = parse_token(make_worker_token(RunId(run), base, CommandId("hook"), key))
        assert parsed is not None
        assert not is_genuine(parsed, SEED)


@pytest.mark.parametrize("options", [NO_OPTIONS, FULL])
def test_the_token_of_a_worker_is_none_that_the_run_itself_issues(options: HookOptions) -> None:
    key = hook_key(RunId("run"), 1, SEED)

    worker = make_worker_token(RunId("run"), 1, CommandId("hook"), key, options)

    assert worker != make_token(RunId("run"), 1, CommandId("hook"), SEED, options)


def test_nobody_changes_what_a_worker_s_token_says() -> None:
    key = hook_key(RunId("run"), 1, SEED)
    full = make_worker_token(RunId("run"), 1, CommandId("hook"), key, FULL).split(".")
    plain = make_worker_token(RunId("run"), 1, CommandId("hook"), key).split(".")
    other = make_worker_token(RunId("run"), 1, CommandId("hook:2"), key).split(".")

    for forged in ([*full[:3], full[4]], [*plain[:3], full[3], plain[3]], [*plain[:3], other[3]]):
        parsed = parse_token(".".join(forged))
        assert parsed is not None
        assert not is_genuine(parsed, SEED)


def test_the_tokens_of_workers_stay_as_they_are() -> None:
    """Workers of other releases make them, too."""
    key = hook_key(RunId("run"), 1, SEED)
    token = make_worker_token(RunId("run"), 1, CommandId("hook"), key)

    assert (key, token) == (
        "b9a329f7d8029d36ba1c0592e5d9c0d21d3bf692a68078ada5452d7744fafc8d",
        "hk_cnVu.aG9vaw.1.JcBH62dx9cvySyyPOsOvJA",
    )
