"""What /metrics shows."""

from __future__ import annotations

import pickle

import pytest
from prometheus_client.parser import text_string_to_metric_families

from artifactapi.metrics import Metrics, Report


def samples(metrics: Metrics, reports: dict[str, Report] | None = None) -> dict[tuple, float]:
    """Every sample of the exposition, by its name and its labels in order."""
    families = text_string_to_metric_families(metrics.text(reports).decode())
    return {(s.name, *sorted(s.labels.values())): s.value for family in families for s in family.samples}


@pytest.fixture
def metrics() -> Metrics:
    """Those of one process."""
    return Metrics()


def test_requests(metrics):
    """Requests are counted by route, method and status, with their seconds; bytes of bodies are summed up."""
    metrics.request("blobs", "GET", 200, 0.2, 0, 1000)
    metrics.request("blobs", "GET", 200, 0.3, 0, 500)
    metrics.request("blobs", "GET", 404, 0.1, 0, 50)
    metrics.request("uploads", "PATCH", 202, 2.0, 12345, 0)
    shown = samples(metrics)
    assert shown["artifactapi_request_seconds_count", "200", "GET", "blobs"] == 2
    assert shown["artifactapi_request_seconds_sum", "200", "GET", "blobs"] == pytest.approx(0.5)
    assert shown["artifactapi_request_seconds_count", "404", "GET", "blobs"] == 1
    assert shown["artifactapi_request_seconds_bucket", "2.5", "202", "PATCH", "uploads"] == 1
    assert shown["artifactapi_request_seconds_bucket", "1.0", "202", "PATCH", "uploads"] == 0
    assert shown[("artifactapi_received_bytes_total",)] == 12345
    assert shown[("artifactapi_sent_bytes_total",)] == 1550


def test_pulls(metrics):
    """What an upstream has is counted by where it came from; bytes are saved by all but misses."""
    for source, sent in (("miss", 1000), ("hit", 1000), ("hit", 0), ("stale", 7)):
        metrics.pulled(source, sent)
    shown = samples(metrics)
    assert shown["artifactapi_remote_pulls_total", "hit"] == 2
    assert shown["artifactapi_remote_pulls_total", "miss"] == 1
    assert shown["artifactapi_remote_pulls_total", "stale"] == 1
    assert shown[("artifactapi_remote_saved_bytes_total",)] == 1007


def test_store(metrics):
    """Operations of the store are counted by their name and outcome."""
    for outcome in ("ok", "ok", "StoreFull"):
        metrics.store("write", outcome, 0.01)
    shown = samples(metrics)
    assert shown["artifactapi_store_seconds_count", "ok", "write"] == 2
    assert shown["artifactapi_store_seconds_count", "StoreFull", "write"] == 1


def test_what_is_watched(metrics):
    """The pool, the running requests and the open uploads are shown as they are when somebody looks."""
    pool = {"busy": 3, "idle": 1}
    metrics.watch_pool(lambda: pool["busy"], lambda: pool["idle"])
    metrics.watch_running(lambda: 7)
    metrics.common(5, {})
    shown = samples(metrics)
    assert shown["artifactapi_database_connections", "busy"] == 3
    assert shown["artifactapi_database_connections", "idle"] == 1
    assert shown[("artifactapi_requests_running",)] == 7
    assert shown[("artifactapi_upload_sessions",)] == 5
    pool["busy"] = 0
    assert samples(metrics)["artifactapi_database_connections", "busy"] == 0


def test_the_process(metrics):
    """The process is shown too: memory, processor, descriptors."""
    shown = samples(metrics)
    for name in ("process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"):
        assert shown[(name,)] > 0


def test_two_do_not_share():
    """Each object counts for itself: there is no registry for all."""
    one, two = Metrics(), Metrics()
    one.request("blobs", "GET", 200, 0.1, 0, 10)
    assert samples(two)[("artifactapi_sent_bytes_total",)] == 0


def test_workers():
    """What several processes report is one text: each sample with its worker, what is all replicas' once."""
    one, two = Metrics(), Metrics()
    one.request("blobs", "GET", 200, 0.2, 0, 1000)
    two.request("blobs", "GET", 200, 0.3, 0, 500)
    two.request("tags", "GET", 200, 0.1, 0, 10)
    two.watch_running(lambda: 7)
    one.common(3, {})
    reports = {"1": one.report(), "2": pickle.loads(pickle.dumps(two.report()))}
    shown = samples(one, reports)
    assert shown["artifactapi_request_seconds_count", "1", "200", "GET", "blobs"] == 1
    assert shown["artifactapi_request_seconds_count", "2", "200", "GET", "blobs"] == 1
    assert shown["artifactapi_request_seconds_count", "2", "200", "GET", "tags"] == 1
    assert (shown["artifactapi_sent_bytes_total", "1"], shown["artifactapi_sent_bytes_total", "2"]) == (1000, 510)
    assert shown["artifactapi_requests_running", "2"] == 7
    assert shown[("artifactapi_upload_sessions",)] == 3
    assert one.text(reports).count(b"# TYPE artifactapi_request_seconds histogram") == 1


def test_content_type(metrics):
    """It is announced as the text format."""
    assert metrics.content_type.startswith("text/plain; version=")
