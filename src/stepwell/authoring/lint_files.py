"""The files that a linted file imports: those beside it, in the same folder or package. Installed ones are not read."""

from __future__ import annotations

import ast
import io
import os
import re
import tokenize
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from stepwell.authoring.lint_names import Definition, Scopes

_IGNORE = re.compile(r"#\s*stepwell:\s*ignore(?:\[(?P<codes>[^\]]*)\])?")
_MAX_IMPORTS = 8


class Source:
    """A file as the linter sees it. `ignored` are the codes that comments leave out, by line; no codes: all."""

    def __init__(self, name: str, text: str | bytes, files: Files | None = None) -> None:
        self.name = name
        path = Path(name)
        finder = (lambda _: None) if files is None else partial(files.find, path)
        self.scopes = Scopes(ast.parse(text, name), finder)
        self.ignored = _ignored(text)

    def is_ignored(self, node: ast.AST, code: str) -> bool:
        """Whether a comment on a line of the statement leaves this code out."""
        return any(_covers(self.ignored.get(number), code) for number in _lines(node))


class Files:
    """Sources by path, each read once."""

    def __init__(self) -> None:
        self._sources: dict[Path, Source | None] = {}
        self._by_scopes: dict[Scopes, Source] = {}

    def add(self, path: Path, source: Source) -> None:
        """Keep what was read."""
        self._sources[path.resolve()] = source
        self._by_scopes[source.scopes] = source

    def of(self, scopes: Scopes) -> Source:
        """The source whose scopes these are."""
        return self._by_scopes[scopes]

    def find(self, path: Path, name: str, hops: int = 0) -> Definition | None:
        """What the full name stands for that the file at `path` imports."""
        module, _, attribute = name.rpartition(".")
        source = self._module(path, module) if module else None
        if source is None or hops > _MAX_IMPORTS:
            return None
        bindings = source.scopes.module.names.get(attribute)
        if not bindings:
            return None
        if bindings[-1].imported:
            return self.find(Path(source.name), bindings[-1].imported, hops + 1)
        node = bindings[-1].node
        return None if node is None else Definition(source.scopes.module, node)

    def _module(self, path: Path, module: str) -> Source | None:
        names = module.lstrip(".")
        level = len(module) - len(names)
        parts = names.split(".") if names else []
        for folder in _roots(path, level):
            place = folder.joinpath(*parts)
            files = [place.with_name(f"{place.name}.py")] if parts else []
            for file in (*files, place / "__init__.py"):
                if file.is_file():
                    # Told as the user tells files: from here, or from the root.
                    return self._read(file if path.is_absolute() else Path(os.path.relpath(file)))
        return None

    def _read(self, path: Path) -> Source | None:
        key = path.resolve()
        if key not in self._sources:
            try:
                self.add(path, Source(str(path), path.read_bytes(), self))
            except (OSError, SyntaxError, ValueError):
                self._sources[key] = None  # whoever imports it will hear of it
        return self._sources[key]


def _roots(path: Path, level: int) -> Iterator[Path]:
    """The folders in which a module of that name may stand: outside of all packages, or so many levels up."""
    folder = path.absolute().parent
    if level:
        yield [folder, *folder.parents][min(level - 1, len(folder.parents))]
        return
    yield folder
    while (folder / "__init__.py").exists() and folder != folder.parent:
        folder = folder.parent
    yield folder


def _lines(node: ast.AST) -> range:
    """The lines on which a comment counts: for a block, those of its head."""
    first: int = node.lineno  # type: ignore[attr-defined]
    body = getattr(node, "body", None)
    if isinstance(body, list):
        return range(first, max(first + 1, body[0].lineno))
    return range(first, (node.end_lineno or first) + 1)  # type: ignore[attr-defined]


def _ignored(source: str | bytes) -> dict[int, frozenset[str]]:
    data = source.encode() if isinstance(source, str) else source
    ignored = {}
    for token in tokenize.tokenize(io.BytesIO(data).readline):
        match = _IGNORE.search(token.string) if token.type == tokenize.COMMENT else None
        if match is not None:
            codes = (match["codes"] or "").replace(",", " ").split()
            ignored[token.start[0]] = frozenset(codes)
    return ignored


def _covers(codes: frozenset[str] | None, code: str) -> bool:
    return codes is not None and (not codes or code in codes)
