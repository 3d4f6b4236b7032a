"""The store holds only ciphertext; keys have names, are rotated, and a deleted key erases what it encrypted."""

import asyncio
import tempfile
from pathlib import Path

from stepwell import AesGcm, Codec, CodecError, Compression, Context, Stepwell, step, workflow


@step
async def diagnose(patient: str) -> str:
    return f"{patient} has the flu"


@workflow
async def visit(ctx: Context, patient: str) -> str:
    return await diagnose(patient)


async def main() -> None:
    folder = Path(tempfile.mkdtemp())
    url = f"sqlite:///{folder / 'runs.db'}"
    old, new = AesGcm.generate_key(), AesGcm.generate_key()  # 32 random bytes each, as text

    codec = Codec(AesGcm({"2026-05": old}, current="2026-05"))
    async with Stepwell(url, include=[__name__], codec=codec) as app:
        assert await (await app.start(visit, "Ada", id="visit-1")).result() == "Ada has the flu"
    for file in folder.iterdir():
        assert b"Ada" not in file.read_bytes()

    # Rotation: the new key encrypts from now on, the old one still reads. Compression is read by every codec.
    cipher = AesGcm({"2026-11": new, "2026-05": old}, current="2026-11")
    codec = Codec(cipher, compress=Compression(above=500))  # or compress=True: above 1024 bytes
    async with Stepwell(url, include=[__name__], codec=codec) as app:
        assert await app.handle("visit-1", visit).result() == "Ada has the flu"
        assert await (await app.start(visit, "Grace", id="visit-2")).result() == "Grace has the flu"

    # Without the old key nobody can read what it encrypted, in no copy of the database either.
    codec = Codec(AesGcm({"2026-11": new}, current="2026-11"))
    async with Stepwell(url, include=[__name__], codec=codec) as app:
        assert await app.handle("visit-2", visit).result() == "Grace has the flu"
        try:
            await app.handle("visit-1", visit).result()
        except CodecError as error:
            print(error)  # ... it was encrypted with the key '2026-05', and the keys here are '2026-11' ...
        else:
            raise AssertionError("the key is gone")


if __name__ == "__main__":
    asyncio.run(main())
