"""Django in one file, by WSGI or ASGI: the blocking twin, opened in each process at its first request.

gunicorn --threads 8 django_app:wsgi
"""

# mypy: disable-error-code="import-untyped, untyped-decorator"

import sys
import tempfile
from pathlib import Path

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import Client
from django.urls import path
from django.views.decorators.http import require_POST

from stepwell import Context, Signal, Stepwell, step, workflow

approval = Signal("approval", str)


@step
def charge(cents: int) -> str:  # uses Django's models as any function does: it runs in a thread
    return f"charged {cents}"


@workflow
async def checkout(ctx: Context, cents: int) -> str:
    by = await ctx.receive(approval)
    return f"{await charge(cents)}, approved by {by}"


folder = Path(tempfile.mkdtemp())  # yours stays where it is
s = Stepwell(f"sqlite:///{folder}/orders.db", include=[__name__]).sync()


@require_POST
def place(request: HttpRequest, id: int) -> HttpResponse:
    handle = s.open().start(checkout, int(request.POST["cents"]), id=f"order-{id}")
    return JsonResponse({"run": handle.id}, status=202)


@require_POST
def approve(request: HttpRequest, id: int) -> HttpResponse:
    handle = s.open().handle(f"order-{id}", checkout)
    handle.send(approval, request.POST["by"])
    return JsonResponse({"receipt": handle.result(timeout="10s")})


urlpatterns = [path("orders/<int:id>", place), path("orders/<int:id>/approval", approve)]
settings.configure(
    ROOT_URLCONF=sys.modules[__name__], SECRET_KEY="change me", ALLOWED_HOSTS=["localhost", "testserver"]
)
django.setup()
wsgi = get_wsgi_application()
asgi = get_asgi_application()


def main() -> None:
    client = Client()
    placed = client.post("/orders/7", {"cents": "500"})
    assert (placed.status_code, placed.json()) == (202, {"run": "order-7"})
    assert client.post("/orders/7/approval", {"by": "ada"}).json() == {"receipt": "charged 500, approved by ada"}


if __name__ == "__main__":
    main()
