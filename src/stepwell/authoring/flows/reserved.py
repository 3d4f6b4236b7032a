"""Words that mean something in expressions, so that no variable and no node may be called so."""

from __future__ import annotations

import keyword

_JAVASCRIPT = """
    arguments async await break case catch class const continue debugger default delete do else enum eval export extends
    false finally for function get if implements import in instanceof interface let new null of package private
    protected public return set static super switch this throw true try typeof undefined var void while with yield
"""
_LANGUAGE = """
    Array Boolean Infinity Math NaN Number Object String abs all any bool ceil contains context float floor floordiv
    index input int keys len list max min mod number range result round sorted str sum values
"""

RESERVED = frozenset([*_JAVASCRIPT.split(), *_LANGUAGE.split(), *keyword.kwlist])
"""Not all of these are taken in all places; a name that is free in all of them is easier to read."""
