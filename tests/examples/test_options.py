"""Options that promise something which is not there yet are refused, not ignored."""

from __future__ import annotations

import pytest

from stepwell import DefinitionError, step
from stepwell.authoring.steps import StepKeywords


@pytest.mark.parametrize("options", [{"queue": "gpu"}, {"limit": 3}, {"transaction": True}])
def test_a_step_refuses_what_is_not_available(options: StepKeywords) -> None:
    with pytest.raises(DefinitionError, match="not available"):
        step(**options)(len)
