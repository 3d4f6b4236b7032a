"""A pipeline: split a document, work on its parts a few at a time, put them together, survive a bad part."""

import asyncio
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from stepwell import Context, Retry, Stepwell, step, workflow


@dataclass
class Part:
    number: int
    text: str


@dataclass
class Report:
    words: dict[str, int]
    bad_parts: list[int]


@step
def split(path: str, size: int = 200) -> list[Part]:
    text = Path(path).read_text(encoding="utf-8")
    return [Part(number, text[start : start + size]) for number, start in enumerate(range(0, len(text), size))]


@step(retry=Retry(attempts=2, first_delay="5ms"), timeout="10s")
def count_words(part: Part) -> dict[str, int]:
    if "\x00" in part.text:
        raise ValueError(f"part {part.number} is not text")
    return dict(Counter(part.text.lower().split()))


@step
def put_together(counts: list[dict[str, int]]) -> dict[str, int]:
    total = Counter[str]()
    for count in counts:
        total.update(count)
    return dict(total.most_common(3))


@workflow
async def analyse(ctx: Context, path: str) -> Report:
    parts = await split(path)
    ctx.metadata["parts"] = len(parts)
    outcomes = await ctx.map(count_words, parts, concurrency=4, settle=True, key=lambda part: part.number)
    good = [outcome.value for outcome in outcomes if outcome.value is not None]
    bad = [part.number for part, outcome in zip(parts, outcomes, strict=True) if not outcome.is_ok]
    return Report(await put_together(good), bad)


async def main() -> None:
    folder = Path(tempfile.mkdtemp())
    document = folder / "document.txt"
    document.write_text("the quick brown fox and the lazy dog " * 50 + "\x00", encoding="utf-8")
    async with Stepwell(f"sqlite:///{folder}/runs.db", include=[__name__]) as app:
        report = await (await app.start(analyse, str(document))).result()
        assert next(iter(report.words)) == "the"
        assert len(report.bad_parts) == 1
        print(report)


if __name__ == "__main__":
    asyncio.run(main())
