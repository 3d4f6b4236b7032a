"""`crash_everywhere`: what a workflow does when its worker dies, at each moment at which that can happen."""

from stepwell import Context, current_step, step, workflow
from stepwell.testing import crash_everywhere

charges: dict[str, int] = {}  # the bank: it takes each idempotency key once
letters: list[str] = []  # the post: it takes whatever comes


@step
async def charge(order: int) -> str:
    key = current_step().idempotency_key
    charges.setdefault(key, order)
    return key


@step
async def write_letter(order: int) -> None:
    letters.append(f"order {order} is paid")


@workflow
async def checkout(ctx: Context, order: int) -> str:
    receipt = await charge(order)
    await ctx.sleep("1d")
    await write_letter(order)
    return receipt


def main() -> None:
    report = crash_everywhere(checkout, 7)  # AssertionError if a crash changes how it ends
    print(report)

    assert report.repeated == {"charge": 2, "write_letter": 2}
    assert len(charges) == 1  # ran again, and the bank knew its key
    assert len(letters) > len(report.crashes)  # more letters than runs: some got two


if __name__ == "__main__":
    main()
