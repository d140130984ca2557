from __future__ import annotations

import json
import logging
import re
import sys
from typing import Any

from objectql.service.telemetry import METRICS, JsonFormatter, Metrics


def line(message: str, **facts: Any) -> dict[str, Any]:
    record = logging.LogRecord("objectql.x", logging.INFO, "f", 1, message, None, None)
    vars(record).update(facts)
    return json.loads(JsonFormatter("kernel", "kernel-1").format(record))


def test_log_line_is_json_with_event_origin_and_facts() -> None:
    written = line("request_done", request_id="r1", verb="get", traceparent="00-abc-def-01")
    assert written.pop("ts").endswith("Z")
    assert written == {
        "level": "info",
        "event": "request_done",
        "service": "kernel",
        "instance": "kernel-1",
        "request_id": "r1",
        "verb": "get",
        "trace_id": "abc",
    }


def test_log_line_hides_secrets_and_passwords_in_urls() -> None:
    written = line("x", jwt_secret="hush", authorization="hush", url="nats://a:hush@h:1")
    assert "hush" not in json.dumps(written)


def test_log_line_carries_the_stack_on_one_line() -> None:
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        record = logging.LogRecord(
            "objectql.x", logging.ERROR, "f", 1, "crash", None, sys.exc_info()
        )
    text = JsonFormatter("k", "k-1").format(record)
    assert "\n" not in text
    assert "ZeroDivisionError" in json.loads(text)["stack"]


def test_metric_names_follow_the_rule_and_have_no_open_labels() -> None:
    for metric in METRICS:
        assert re.fullmatch(r"oql_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert not {"tenant", "id", "user", "record"} & set(metric.labels)


def test_requests_appear_in_the_exposition() -> None:
    metrics = Metrics()
    metrics.observe_request("get", "ok", 0.004)
    text = metrics.exposition().decode()
    assert 'oql_requests_total{outcome="ok",verb="get"} 1.0' in text
    assert 'oql_request_duration_seconds_bucket{le="0.005",verb="get"} 1.0' in text
