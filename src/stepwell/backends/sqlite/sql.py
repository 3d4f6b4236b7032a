"""The SQL texts of this package, by name."""

from __future__ import annotations

from importlib.resources import files


def _parse(text: str) -> dict[str, str]:
    statements = {}
    for part in text.split("-- name: ")[1:]:
        name, _, body = part.partition("\n")
        lines = [line for line in body.splitlines() if line and not line.startswith("--")]
        statements[name.strip()] = "\n".join(lines)
    return statements


_HERE = files(__package__)
SQL = _parse((_HERE / "queries.sql").read_text(encoding="utf-8"))


def migrations() -> list[str]:
    """The scripts that lead from an empty file to the newest schema: the n-th makes version n."""
    found = sorted(path.name for path in (_HERE / "migrations").iterdir() if path.name.endswith(".sql"))
    return [(_HERE / "migrations" / name).read_text(encoding="utf-8") for name in found]
