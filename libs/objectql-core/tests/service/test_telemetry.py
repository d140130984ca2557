from __future__ import annotations

import json
import logging
import re
import sys
from typing import Any

import pytest

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


TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJodXNoIn0.hush-hush_hush"


@pytest.mark.parametrize(
    "text",
    [
        "cannot connect to nats://kernel:hush@h:1,nats://hush@i:1",
        f"refused {TOKEN}",
        "Authorization: Bearer hush-hush",
        "authorization: basic aHVzaA==hush",
        "the key oqlk_0192_hush",
        "DETAIL:  Key (tenant_id, email)=(default, hush@example.org) already exists.",
        "DETAIL:  Failing row contains (1, hush, null, (hush)).",
        'DETAIL:  Failing row contains (1, "a\\n) hush, null).\nhush',
        "the refresh token oqlr_0192_a.hush-hush",
    ],
)
def test_no_secret_and_no_value_of_a_record_gets_into_a_line(text: str) -> None:
    nested = {"deep": [{"reason": text}]}
    try:
        raise ValueError(text)
    except ValueError:
        record = logging.LogRecord("objectql.x", logging.ERROR, "f", 1, text, None, sys.exc_info())
    record.reason, record.nested = text, nested
    found = JsonFormatter("k", "k-1").format(record)
    assert "hush" not in found.lower().replace("authorization", "")
    assert json.loads(found)["level"] == "error"


@pytest.mark.parametrize("text", ["a\nb", "a\r\n{}", "\x1b[31m", "\x00", "a\u2028b"])
def test_whatever_is_logged_stays_one_line(text: str) -> None:
    record = logging.LogRecord("objectql.x", logging.INFO, "f", 1, text, None, None)
    record.reason, record.listed = text, [text]
    found = JsonFormatter("k", "k-1").format(record)
    assert not [c for c in found if ord(c) < 32]
    assert json.loads(found)["reason"] == text


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
