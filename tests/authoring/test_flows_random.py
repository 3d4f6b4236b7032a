"""Random functions, compiled, give what they give when they just run: the same value or failure, the same calls."""

from __future__ import annotations

import asyncio
import os
import warnings
from collections import Counter
from typing import Any

from stepwell import FlowError
from stepwell.authoring.flows import compile_flow
from tests.authoring import flow_steps
from tests.authoring.flow_programs import written
from tests.authoring.flow_runs import agree, function_of, run_document, run_plainly

IS_THOROUGH = os.environ.get("STEPWELL_HYPOTHESIS") == "thorough"
COUNT = 5_000 if IS_THOROUGH else 80
NAMES: dict[str, Any] = {**vars(flow_steps), "asyncio": asyncio}


def test_a_random_function_and_its_document_do_the_same() -> None:
    endings: Counter[str] = Counter()
    for seed in range(COUNT):
        text, is_concurrent = written(seed, 4 + seed % 25)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of comparisons that are always true
            fn = function_of(text, NAMES)
        try:
            compiled = compile_flow(fn)
        except FlowError as error:
            reason = str(error)
        else:
            reason = ""
        if reason:
            assert "tells failures of steps apart" in reason or "held under another name" in reason, text
            endings["refused"] += 1
            continue
        for n in (0, 1, 4):
            flow_steps.calls.clear()
            expected = run_plainly(fn, n)
            plainly = list(flow_steps.calls)
            flow_steps.calls.clear()
            done = run_document(compiled, n)
            assert agree(expected, done), f"seed {seed}, {n}: {expected} became {done}\n{text}"
            assert is_concurrent or flow_steps.calls == plainly, f"seed {seed}, {n}: other calls\n{text}"
            endings["value" if expected.failure is None else expected.failure[0]] += 1
    assert endings["refused"] < COUNT / 5
    assert endings["value"] > COUNT
    assert endings["ValueError"] > COUNT / 20
