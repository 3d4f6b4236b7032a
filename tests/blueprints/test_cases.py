"""The cases written by hand: the evaluator and the graph program both give what is expected."""

from __future__ import annotations

from random import Random

import pytest

from stepwell.testing.blueprints.evaluator import evaluate
from stepwell.testing.blueprints.sheets import Case
from tests.blueprints.cases import Sentence
from tests.blueprints.comparing import check
from tests.blueprints.play import Player, Table
from tests.blueprints.sentences import SENTENCES


def _id(sentence: Sentence) -> str:
    return sentence.text.replace(" ", "_")


@pytest.mark.parametrize("sentence", SENTENCES, ids=_id)
def test_the_graph_program_gives_what_is_expected(sentence: Sentence) -> None:
    for seed in range(3):
        table = Table(sentence.document, sentence.input, sentence.blueprints, sentence.script)
        _assert_expected(sentence, Player(table, Random(seed)).play())


@pytest.mark.parametrize("sentence", SENTENCES, ids=_id)
def test_the_evaluator_gives_what_is_expected(sentence: Sentence) -> None:
    blueprints, script = sentence.blueprints, sentence.script
    _assert_expected(sentence, evaluate(sentence.document, sentence.input, blueprints=blueprints, script=script))


@pytest.mark.parametrize("sentence", SENTENCES, ids=_id)
def test_every_order_and_every_replay_gives_the_same(sentence: Sentence) -> None:
    case = Case(sentence.document, sentence.input, sentence.blueprints, sentence.script)

    check(case, Random(1), prefixes=20)


def _assert_expected(sentence: Sentence, found: object) -> None:
    for what, expected in {"status": "completed", **sentence.expected}.items():
        if what == "failure":
            assert expected in getattr(found, "failure", expected)  # the evaluator has words of its own
        else:
            value = getattr(found, what)
            if isinstance(expected, dict) and what != "value":
                value = {key: value.get(key) for key in expected}
            assert (sorted(value) if what == "steps" else value) == expected, what
