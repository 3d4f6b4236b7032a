"""Which target a run is for, and what is no target."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from stepwell import DefinitionError, Secret
from stepwell.runtime.remote.asgi import AsgiSender
from stepwell.runtime.remote.inline import InlineSender
from stepwell.runtime.remote.targets import Target, Targets


async def worker(body: bytes, headers: dict[str, str]) -> Any:
    """A function."""


async def application(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI application."""


class StepWorkerLike:
    """Both at once, as our own workers are."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI."""

    async def handle(self, body: bytes, headers: Any, *, method: str = "POST", path: str = "/") -> Any:
        """A plain function."""


def target(*workflows: str, **options: Any) -> Target:
    return Target("https://pay.example/step", workflows=workflows, **options)


def test_the_most_specific_target_is_asked() -> None:
    anyone = target("pay", name="anyone")
    v2 = target("pay", versions=["2"], name="v2")
    acme = target("pay", namespaces=["acme"], name="acme")
    acme_v2 = target("pay", versions=["2"], namespaces=["acme"], name="acme v2")
    targets = Targets([anyone, v2, acme, acme_v2, target("ship")])

    assert targets.find("pay") is anyone
    assert targets.find("pay", "1") is anyone
    assert targets.find("pay", "2") is v2
    assert targets.find("pay", "1", "acme") is acme
    assert targets.find("pay", "2", "acme") is acme_v2
    assert targets.find("pay", "2", "other") is v2
    assert targets.find("bill") is None


def test_a_namespace_goes_before_a_version() -> None:
    v2, acme = target("pay", versions=["2"], name="v2"), target("pay", namespaces=["acme"], name="acme")
    assert Targets([v2, acme]).find("pay", "2", "acme") is acme


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {}),
        ({"versions": ["1", "2"]}, {"versions": ["2", "3"]}),
        ({"namespaces": ["acme"]}, {"namespaces": ["acme", "other"]}),
    ],
)
def test_two_targets_for_the_same_runs_are_refused(one: Any, other: Any) -> None:
    targets = Targets([target("pay", "ship", name="first", **one)])
    with pytest.raises(DefinitionError, match="targets first and second are both for workflow ship, and neither"):
        targets.add(target("ship", name="second", **other))
    assert len(targets) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"versions": ["1"]}, {"versions": ["2"]}),
        ({"namespaces": ["a"]}, {"namespaces": ["b"]}),
        ({}, {"versions": ["2"]}),
    ],
)
def test_targets_for_other_runs_go_together(one: Any, other: Any) -> None:
    assert len(Targets([target("pay", **one), target("pay", **other)])) == 2


def test_a_target_that_is_not_there_cannot_go() -> None:
    targets = Targets([target("pay", name="first")])
    with pytest.raises(DefinitionError, match="there is no <target other: pay> among the targets; there are: first"):
        targets.remove(target("pay", name="other"))


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("ftp://pay.example", "give a URL that begins with http:// or https://"),
        ("pay.example/step", "give a URL that begins with http:// or https://"),
        ("file:///etc/passwd", "give a URL that begins with http:// or https://"),
        ("http:///step", "the URL names no host"),
        ("http://pay.example:http/", "that is no URL"),
        ("http://pay.example:99999/", "that is no URL"),
        ("http://[::1/", "that is no URL"),
        ("http://pay.example/a#b", "nothing after a #"),
        ("http://pay.example/a b", "no spaces here"),
        ("http://pay.example/a\r\nx: y", "no spaces here"),
        ("https://me:s3cret@pay.example/", "sign the requests with secret= instead"),
        ("https://token@pay.example/", "sign the requests with secret= instead"),
    ],
)
def test_what_is_no_url_of_a_worker_is_refused_without_telling_secrets(url: str, text: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        Target(url, workflows=["pay"])
    assert text in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert "token" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"workflows": []}, "give the ids of the workflows that it runs"),
        ({"workflows": "pay"}, "give a list of the ids of the workflows"),
        ({"workflows": [""]}, "give a list of"),
        ({"workflows": ["pay"], "versions": "1"}, "give a list of versions"),
        ({"workflows": ["pay"], "namespaces": ["No Name"]}, "namespace"),
        ({"workflows": ["pay"], "timeout": 0}, "timeout=.*give more than 0"),
        ({"workflows": ["pay"], "idle_timeout": "soon"}, "idle_timeout=.* is 'soon'"),
        ({"workflows": ["pay"], "max_answer": 3}, "max_answer=3.*1024 or more"),
        ({"workflows": ["pay"], "concurrency": 0}, "concurrency=0.*1 or more"),
        ({"workflows": ["pay"], "concurrency": True}, "concurrency=True"),
        ({"workflows": ["pay"], "secret": ""}, "a text that is not empty"),
        ({"workflows": ["pay"], "secret": b"x"}, 'give a Secret\\("name"\\)'),
        ({"workflows": ["pay"], "tiemout": 1}, "has no option 'tiemout'; there are: workflows, concurrency"),
    ],
)
def test_options_that_mean_nothing_are_refused(options: Any, text: str) -> None:
    with pytest.raises(DefinitionError, match=text):
        Target("https://pay.example", **options)


@pytest.mark.parametrize("to", [7, object(), lambda: None, lambda a, b, c, d: None])
def test_what_cannot_be_called_is_refused(to: Any) -> None:
    with pytest.raises(DefinitionError, match="a URL, an ASGI application"):
        Target(to, workflows=["pay"])


def test_labels_tell_no_secrets() -> None:
    place = Target("https://pay.example:8443/step?key=s3cret", workflows=["pay"], secret="hush")
    assert repr(place) == "<target https://pay.example:8443/step: pay>"
    assert Target("http://[::1]:80/x", workflows=["pay"]).label == "http://[::1]:80/x"
    assert Target(worker, workflows=["pay"]).label == "function worker"
    assert Target(application, workflows=["pay"]).label == "application application"
    assert Target(worker, workflows=["pay"], name="till", secret=Secret("x")).label == "till"


@pytest.mark.parametrize(
    ("to", "kind"),
    [
        (worker, InlineSender),
        (StepWorkerLike(), InlineSender),
        (application, AsgiSender),
        (functools.partial(application), AsgiSender),
    ],
)
def test_workers_in_this_process_are_known_by_their_shape(to: Any, kind: type) -> None:
    place = Target(to, workflows=["pay"])
    assert type(place.place.open(place)) is kind


def test_what_is_no_target_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"targets holds 'https://pay.example'; give Target"):
        Targets(["https://pay.example"])  # type: ignore[list-item]


def test_a_new_target_has_no_failures() -> None:
    (state,) = Targets([target("pay", versions=["1"])]).states()
    assert (state.label, state.workflows, state.versions) == ("https://pay.example/step", ("pay",), ("1",))
    assert (state.circuit, state.failures, state.in_flight, state.last_ok_at) == ("closed", 0, 0, None)
