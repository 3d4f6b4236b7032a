"""Files that steps store are encrypted with everything else, and those from before are read."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from tests.helpers import run

from stepwell import AesGcm, Blob, Codec, Context, RunError, Stepwell, current_step, step, workflow

CODEC = Codec(AesGcm({"k1": bytes(32)}, current="k1"))
OTHER = Codec(AesGcm({"k2": bytes(32)}, current="k2"))


@step(retry=None)
async def store(text: str) -> Blob:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "letter.txt"
        path.write_text(text)
        return await current_step().blob(path)


@step(retry=None)
async def read(blob: Blob) -> str:
    return (await current_step().read_blob(blob)).decode()


@workflow
async def stores(ctx: Context, text: str) -> Blob:
    return await store(text)


@workflow
async def reads(ctx: Context, blob: Blob) -> str:
    return await read(blob)


def test_files_are_encrypted_and_read_back() -> None:
    async def body() -> None:
        async with Stepwell("memory://", include=[stores, reads], codec=CODEC) as app:
            blob = await (await app.start(stores, "dear ada" * 10)).result()
            assert (blob.name, blob.size) == ("letter.txt", 80)
            stored = await app.backend.blobs.get(blob.key)
            assert stored is not None
            assert b"dear ada" not in stored
            assert blob.sha256[:40] not in blob.key
            assert await (await app.start(reads, blob)).result() == "dear ada" * 10

    run(body())


@pytest.mark.parametrize(
    ("codec", "problem"),
    [(None, "the file letter.txt is encrypted"), (OTHER, "cannot be decrypted: it was encrypted with the key 'k1'")],
)
def test_a_file_without_its_key_is_an_error(codec: Codec | None, problem: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'runs.db'}"

    async def write() -> Blob:
        async with Stepwell(url, include=[stores], codec=CODEC) as app:
            return await (await app.start(stores, "dear ada")).result()

    async def read_again(blob: Blob) -> None:
        async with Stepwell(url, include=[reads], codec=codec or Codec()) as app:
            with pytest.raises(RunError, match=problem):
                await (await app.start(reads, blob)).result()

    run(read_again(run(write())))


def test_a_file_from_before_the_cipher_is_read(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'runs.db'}"

    async def write() -> Blob:
        async with Stepwell(url, include=[stores]) as app:
            return await (await app.start(stores, "dear ada")).result()

    async def read_again(blob: Blob) -> None:
        async with Stepwell(url, include=[reads], codec=CODEC) as app:
            assert await (await app.start(reads, blob)).result() == "dear ada"

    run(read_again(run(write())))
