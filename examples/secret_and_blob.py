"""Secrets go by name and are never recorded; files go by reference; everything recorded can be encrypted."""

import asyncio
import os
import tempfile
from pathlib import Path

from stepwell import (
    Blob,
    Codec,
    CodecError,
    Context,
    DefinitionError,
    Secret,
    StepError,
    Stepwell,
    current_step,
    step,
    workflow,
)


class Xor:
    """A cipher of your own. A toy: take `stepwell.AesGcm`, as encryption.py does."""

    def encrypt(self, data: bytes, /) -> bytes:
        return bytes(byte ^ 0x5A for byte in data)

    decrypt = encrypt


@step
async def call_api(key: Secret) -> int:
    return len(key.reveal())  # only in a running step


@step
async def make_report(lines: int) -> Blob:
    path = Path(tempfile.mkdtemp()) / "report.txt"
    path.write_text("line\n" * lines)
    return await current_step().blob(path)  # stored once, passed on as a small reference


@step
async def count_lines(report: Blob) -> int:
    return (await current_step().read_blob(report)).count(b"\n")


@step
async def make_large_text() -> str:
    return "x" * 100_000  # large values go to the blob store by themselves


@step
async def make_unreadable() -> float:
    return float("nan")  # JSON has no such number: an error here, not on some replay


@workflow
async def report(ctx: Context) -> int:
    assert await call_api(Secret("api")) == 6
    blob = await make_report(1000)
    assert blob.name == "report.txt"
    assert len(await make_large_text()) == 100_000
    try:
        await make_unreadable()  # not retried: another attempt would only repeat the mistake
    except StepError as error:
        assert error.is_(CodecError)
    return await count_lines(blob)


async def main() -> None:
    database = Path(tempfile.mkdtemp()) / "runs.db"
    secrets = {"api": "s3cr3t"}  # or a function; without it, the environment variable STEPWELL_SECRET_API
    async with Stepwell(f"sqlite:///{database}", include=[__name__], secrets=secrets, codec=Codec(Xor())) as app:
        assert await (await app.start(report)).result() == 1000
    for file in database.parent.iterdir():
        assert b"s3cr3t" not in file.read_bytes()
    assert "STEPWELL_SECRET_API" not in os.environ
    try:
        Secret("")
    except DefinitionError as error:
        print(error)


if __name__ == "__main__":
    asyncio.run(main())
