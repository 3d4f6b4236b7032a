"""`/metrics`: what is counted, in the text formats of Prometheus and OpenMetrics, as the scraper likes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import cast

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from stepwell.runtime.backlog import Backlog
from stepwell.runtime.metrics import Counter, Family, Gauge, Histogram
from stepwell.runtime.patience import Trouble
from stepwell.runtime.worker import Worker
from stepwell.server.access import Unauthorized
from stepwell.server.access.scopes import Scope
from stepwell.server.endpoints import Answer, Call, Endpoint
from stepwell.server.problems import Problem
from stepwell.server.seeing.seeing import Seeing

_INFINITE = float("inf")
_VERSION = re.compile(r"version=([^;,\s]*)")
_NUMBERS = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){0,3}")
"""The library takes for granted that a version is one, and says it again in its answer."""


class Families:
    """What `prometheus_client` asks for what there is to show."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """All of them, as of now."""
        for family in self._families:
            match family:
                case Counter():
                    yield _counter(family)
                case Gauge():
                    yield _gauge(family)
                case Histogram():
                    yield _histogram(family)


def _counter(family: Counter) -> Metric:
    metric = CounterMetricFamily(family.name, family.help, labels=family.labels)
    for labels, value in _values(family.values, family.labels, 0.0):
        metric.add_metric(labels, value)
    return metric


def _gauge(family: Gauge) -> Metric:
    metric = GaugeMetricFamily(family.name, family.help, labels=family.labels)
    for labels, value in _values(family.values, family.labels, 0.0):
        metric.add_metric(labels, value)
    return metric


def _histogram(family: Histogram) -> Metric:
    metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    for labels, found in list(family.values.items()):
        buckets, total = [], 0
        for bound, count in zip([*family.bounds, _INFINITE], found.counts, strict=True):
            total += count
            buckets.append(("+Inf" if bound == _INFINITE else repr(bound), total))
        metric.add_metric(labels, buckets, found.sum)
    return metric


def _values(
    values: dict[tuple[str, ...], float], labels: Sequence[str], default: float
) -> list[tuple[tuple[str, ...], float]]:
    return list(values.items()) if values or labels else [((), default)]


def worker_families(workers: Sequence[Worker]) -> list[Family]:
    """What is so now with the workers of this process, all together."""
    return [
        _shown("stepwell_workers", "Workers in this process that take runs.", sum(w.is_running for w in workers)),
        _shown("stepwell_runs_held", "Runs that are held here now.", sum(len(w.active) for w in workers)),
        _shown("stepwell_places_free", "How many more runs may be held here.", sum(max(0, w.free) for w in workers)),
        _shown(
            "stepwell_threads_hanging",
            "Threads of steps that nobody waits for any more.",
            sum(w.steps.leaked_threads for w in workers),
        ),
        _summed(
            "stepwell_lease_renewal_failures",
            "Renewals of leases that the backend did not answer.",
            sum(w.renewer.failures for w in workers),
        ),
    ]


def queue_families(backlogs: Sequence[Backlog]) -> list[Family]:
    """What is due and has not been taken, over all namespaces."""
    due = Gauge("stepwell_queue_due_runs", "Runs that are due and wait for a worker; at least so many.", "queue")
    oldest = Gauge("stepwell_queue_oldest_due_seconds", "How long the oldest of them has been due.", "queue")
    for found in backlogs:
        for queue in found.queues():
            due.add(queue.due, queue.queue)
            age = max(0, found.now - queue.oldest) / 1000
            oldest.set(max(age, oldest.values.get((queue.queue,), 0.0)), queue.queue)
    return [due, oldest]


async def text_of(seeing: Seeing, accept: str) -> tuple[bytes, str]:
    """All metrics, and the content type that fits the header `Accept` best."""
    server = seeing.server
    families: list[Family] = [
        *seeing.metrics.families(),
        *worker_families([worker for _, worker in seeing.workers()]),
        *queue_families(await seeing.backlogs()),
        _summed("stepwell_backend_errors", "Calls that the backend did not answer.", Trouble.here().failures),
        _shown("stepwell_http_requests_open", "HTTP requests that are being answered.", server.in_flight),
        _shown("stepwell_http_streams_open", "Event streams that are open.", server.streams),
    ]
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Families(families))
    ProcessCollector(registry=registry)
    encode, content_type = _encoder(accept)
    return encode(registry), content_type


def _encoder(accept: str) -> tuple[Callable[[CollectorRegistry], bytes], str]:
    versions = _VERSION.findall(accept)
    return choose_encoder(accept if all(_NUMBERS.fullmatch(version) for version in versions) else "")


def _shown(name: str, help: str, value: float) -> Gauge:
    gauge = Gauge(name, help)
    gauge.set(value)
    return gauge


def _summed(name: str, help: str, value: float) -> Counter:
    counter = Counter(name, help)
    counter.add(by=value)
    return counter


async def _check_allowed(call: Call) -> None:
    """The gate lets everybody in here: whether it shall is not the same for each server."""
    scope = call.server.options.metrics_scope
    if scope == "open":
        return
    access = call.server.access
    try:
        caller = await access.authenticate(call.header("authorization"), address=call.client_address)
    except Unauthorized as error:
        raise Problem(
            401, "unauthorized", str(error), headers={"www-authenticate": 'Bearer realm="stepwell"'}
        ) from None
    if not caller.may(cast("Scope", scope)) or caller.namespace or caller.run is not None:
        text = f"this is about all namespaces: it needs a key of the default one, with the scope {scope!r}"
        raise Problem(403, "forbidden", text)


async def metrics(call: Call) -> Answer:
    """All of them. Who may see them is an option of the server."""
    await _check_allowed(call)
    body, content_type = await text_of(call.server.seeing, call.header("accept") or "")
    return Answer(body=body, content_type=content_type, headers={"cache-control": "no-store"})


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/metrics",
        handler=metrics,
        scope=None,
        summary="What is counted, for Prometheus: text format 0.0.4, or OpenMetrics if that is asked for.",
        answers={200: bytes},
        problems=(401, 403),
    ),
)
