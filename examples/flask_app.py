"""Flask: the blocking twin, opened in each process at its first request, so that servers may fork their workers.

gunicorn --threads 8 flask_app:web
"""

import tempfile
from pathlib import Path

from flask import Flask, request
from flask.typing import ResponseReturnValue

from stepwell import Context, RunNotFoundError, Signal, Stepwell, step, workflow

approval = Signal("approval", str)


@step
def charge(cents: int) -> str:
    return f"charged {cents}"


@workflow
async def checkout(ctx: Context, cents: int) -> str:
    by = await ctx.receive(approval)
    return f"{await charge(cents)}, approved by {by}"


folder = Path(tempfile.mkdtemp())  # yours stays where it is
s = Stepwell(f"sqlite:///{folder}/orders.db", include=[__name__]).sync()
web = Flask(__name__)


@web.post("/orders/<id>")
def place(id: str) -> ResponseReturnValue:
    handle = s.open().start(checkout, int(request.form["cents"]), id=f"order-{id}")
    return {"run": handle.id}, 202


@web.post("/orders/<id>/approval")
def approve(id: str) -> ResponseReturnValue:
    handle = s.open().handle(f"order-{id}", checkout)
    handle.send(approval, request.form["by"])
    return {"receipt": handle.result(timeout="10s")}


@web.errorhandler(RunNotFoundError)
def not_found(error: RunNotFoundError) -> ResponseReturnValue:
    return {"error": str(error)}, 404


def main() -> None:
    client = web.test_client()
    placed = client.post("/orders/7", data={"cents": 500})
    assert (placed.status_code, placed.json) == (202, {"run": "order-7"})
    assert client.post("/orders/7/approval", data={"by": "ada"}).json == {"receipt": "charged 500, approved by ada"}
    assert client.post("/orders/8/approval", data={"by": "ada"}).status_code == 404


if __name__ == "__main__":
    main()
