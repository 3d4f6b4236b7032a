"""Annotations are resolved and judged before anything runs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import pytest
from hypothesis import strategies as st
from msgspec import Struct

from stepwell.codec import resolve_annotations, typed
from stepwell.errors import DefinitionError
from tests.test_codec import Box, Customer, Item, Money, Order

if TYPE_CHECKING:
    from collections import ChainMap


class Unresolved(Struct):
    x: Nowhere  # type: ignore[name-defined]  # noqa: F821


class Readable(Protocol):
    def read(self) -> str: ...


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (Callable[[], int], "Callable"),
        (Iterator[int], "Iterator"),
        (list[dict[str, Readable]], "Readable"),
        (complex, "complex"),
        (Box[Money], "Money"),
        (int | Customer, "custom type"),
        (str | bytes, "str-like"),
        (list["Nowhere"], "Nowhere"),  # noqa: F821
        (Unresolved, "it mentions 'Nowhere', which is not defined"),
        ("Order", "Order"),
    ],
    ids=str,
)
def test_a_type_that_cannot_be_written_is_an_error_before_anything_runs(annotation: Any, text: str) -> None:
    with pytest.raises(DefinitionError, match=text):
        typed(annotation)


def test_annotations_are_resolved_with_their_extras() -> None:
    def work(order: Order, *, level: Annotated[int, "why"] = 1) -> list[Item]:
        return order.items * level

    assert resolve_annotations(work) == {"order": Order, "level": Annotated[int, "why"], "return": list[Item]}


def test_annotations_of_local_classes_need_the_names_around() -> None:
    class Local(Struct):
        x: int

    def work(local: Local) -> None: ...

    assert resolve_annotations(work, names=locals())["local"] is Local


def test_a_name_that_only_type_checkers_see_is_an_error_with_a_cure() -> None:
    def work(order: Order, seen: ChainMap[str, int]) -> None: ...

    with pytest.raises(DefinitionError, match=r"work, at parameter `seen`: the name 'ChainMap'.*TYPE_CHECKING"):
        resolve_annotations(work)


def test_a_partial_function_has_the_annotations_of_the_function() -> None:
    def work(x: int, y: str) -> None: ...

    assert resolve_annotations(functools.partial(work, 1)) == {"x": int, "y": str, "return": type(None)}


def test_an_annotation_that_is_no_type_is_an_error() -> None:
    def work(x: st.Nowhere) -> None: ...  # type: ignore[name-defined]

    with pytest.raises(DefinitionError, match=r"the annotations of .*work are not types: .* 'Nowhere'"):
        resolve_annotations(work)


def test_a_callable_object_has_the_annotations_of_its_call() -> None:
    class Work:
        def __call__(self, x: int) -> str:
            return str(x)

    assert resolve_annotations(Work()) == {"x": int, "return": str}
