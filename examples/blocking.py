"""The blocking twin of the app: the same names, without await."""

from stepwell import Context, Signal, Stepwell, Stream, step, workflow

go = Signal("go", int)
lines = Stream("lines", str)


@step
def square(x: int) -> int:
    return x * x


@workflow
async def squares(ctx: Context, count: int) -> list[int]:
    ctx.send(lines, "ready")
    last = await ctx.receive(go)
    return [*await ctx.map(square, range(count)), last]


def main() -> None:
    app = Stepwell("memory://", include=[__name__])
    with app.sync() as s:
        handle = s.start(squares, 3, id="squares")
        handle.send(go, 7)
        assert handle.result(timeout="1h") == [0, 1, 4, 7]
        assert list(handle.stream(lines)) == ["ready"]
        assert s.runs.list(status="completed").runs[0].id == "squares"


if __name__ == "__main__":
    main()
