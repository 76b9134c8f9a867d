"""Bodies that no sender should send, and heads that no client should write."""

from __future__ import annotations

import gzip
import json
import zlib
from functools import cache
from typing import Any

MEGABYTE = b"\0" * 1_048_576

# Valid for every protocol that there is: what one does not know it keeps or ignores.
VALID: dict[str, Any] = {
    "type": "track",
    "event": "Order Completed",
    "name": "Home",
    "userId": "hostile-user",
    "groupId": "g",
    "previousId": "p",
    "metrixUserId": "hostile-user",
    "idfa": "0c2b9d9c-5f0a-4c58-9a69-0d6d0a6d6a01",
    "eventSlug": "taqsq",
}
MARK = '"HERE"'


def valid_with(raw: bytes, name: str = "properties") -> bytes:
    """Return a valid event in which one field has raw bytes as its value."""
    text = json.dumps({**VALID, name: {"strange": "HERE"}, "customAttributes": {"a": "b"}})
    return text.encode().replace(MARK.encode(), raw)


def batch_of(*events: bytes) -> bytes:
    """Return a batch of raw events."""
    return b'{"batch":[' + b",".join(events) + b"]}"


def nested(depth: int) -> bytes:
    """Return arrays in arrays."""
    return b"[" * depth + b"]" * depth


def nested_objects(depth: int) -> bytes:
    """Return objects in objects."""
    return b'{"a":' * depth + b"1" + b"}" * depth


# Values that stand somewhere in an otherwise valid event.
VALUES: dict[str, bytes] = {
    "escaped NUL": b'"a\\u0000b"',
    "raw NUL": b'"a\0b"',
    "escaped lone surrogate": b'"\\ud83d"',
    "escaped swapped surrogates": b'"\\ude00\\ud83d"',
    "raw lone surrogate": b'"\xed\xa0\xbd"',
    "overlong NUL": b'"\xc0\x80"',
    "bad UTF-8": b'"\xff\xfe\xfa"',
    "cut UTF-8": b'"\xe2\x82"',
    "too large for a double": b"1e999",
    "too small for a double": b"-1e999",
    "NaN": b"NaN",
    "Infinity": b"-Infinity",
    "a number of 5,000 digits": b"9" * 5000,
    "beyond 64 bits": b"18446744073709551616",
    "a number of 5,000 decimals": b"0." + b"1" * 5000,
    "minus zero": b"-0",
    "a leading zero": b"007",
    "nested 100": nested(100),
    "nested 10,000": nested(10_000),
    "nested objects 100": nested_objects(100),
    "nested objects 3,000": nested_objects(3_000),
    "a key of 30,000 bytes": b'{"' + b"k" * 30_000 + b'":1}',
    "2,000 keys": json.dumps({f"k{n}": n for n in range(2_000)}).encode(),
    "duplicate keys": b'{"a":1,"a":2,"a":{"a":3,"a":4}}',
    "an empty key": b'{"":{"":{"":1}}}',
    "keys with dots and dollars": b'{"$set":{"a.b":1},"__proto__":{"x":1},"constructor":1}',
    "control characters": b'"\\u0001\\u001f\\u007f\\u2028\\u2029\\ufeff"',
    "raw control characters": b'"\x01\x1f"',
    "bidirectional marks": '"\u202e\u2066abc\u2069"'.encode(),
    "text of 40,000 bytes": b'"' + b"x" * 40_000 + b'"',
}

# Whole bodies.
BODIES: dict[str, bytes] = {
    "empty": b"",
    "a space": b" ",
    "null": b"null",
    "true": b"true",
    "a number": b"42",
    "a text": b'"text"',
    "an empty array": b"[]",
    "an empty object": b"{}",
    "an array of arrays": b"[[],[],{}]",
    "an array of events": json.dumps([VALID, VALID]).encode(),
    "a NUL": b"\0",
    "NULs": b"\0" * 1000,
    "a byte order mark": b"\xef\xbb\xbf" + json.dumps(VALID).encode(),
    "two byte order marks": b"\xef\xbb\xbf\xef\xbb\xbf{}",
    "UTF-16 with a mark": json.dumps(VALID).encode("utf-16"),
    "UTF-16 big endian": json.dumps(VALID).encode("utf-16-be"),
    "UTF-32": json.dumps(VALID).encode("utf-32"),
    "latin-1": '{"userId":"é"}'.encode("latin-1"),
    "cut in the middle": json.dumps(VALID).encode()[:40],
    "two documents": json.dumps(VALID).encode() * 2,
    "trailing garbage": json.dumps(VALID).encode() + b"}}}",
    "only openers": b"{[" * 5000,
    "nested 100": nested(100),
    "nested 10,000": nested(10_000),
    "nested objects 10,000": nested_objects(10_000),
    "a number of 100,000 digits": b"1" * 100_000,
    "1e999": b"1e999",
    "NaN": b"NaN",
    "a form": b"event=a&userId=b&userId=c",
    "multipart": b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--x--\r\n",
    "XML": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    "a batch that is a text": b'{"batch":"x"}',
    "a batch that is an object": b'{"batch":{"0":{}}}',
    "a batch of scalars": b'{"batch":[1,null,"x",true,[],{}]}',
    "a batch of batches": batch_of(batch_of(json.dumps(VALID).encode())),
    "two batches": b'{"batch":[],"batch":[' + json.dumps(VALID).encode() + b"]}",
    "a batch with strange neighbours": b'{"batch":[{}],"context":[],"integrations":7,"sentAt":{}}',
    "duplicate keys of every field": b"{"
    + b",".join(json.dumps({k: v}).encode()[1:-1] for k, v in list(VALID.items()) * 2)
    + b"}",
}


@cache
def packed_bodies() -> dict[str, tuple[str, bytes]]:
    """Return compressed bodies that lie, by what is wrong: (Content-Encoding, body)."""
    whole = gzip.compress(json.dumps(VALID).encode())
    bomb = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb_bytes = b"".join(bomb.compress(MEGABYTE) for _ in range(300)) + bomb.flush()
    return {
        "truncated gzip": ("gzip", whole[: len(whole) // 2]),
        "gzip without its sum": ("gzip", whole[:-8]),
        "gzip with a wrong sum": ("gzip", whole[:-8] + b"\0" * 8),
        "gzip and more": ("gzip", whole + b"more"),
        "two gzips": ("gzip", whole * 2),
        "no gzip": ("gzip", json.dumps(VALID).encode()),
        "gzip twice": ("gzip", gzip.compress(whole)),
        "gzip, gzip": ("gzip, gzip", gzip.compress(whole)),
        "a bomb": ("gzip", bomb_bytes),
        "a bomb without its header": ("identity", bomb_bytes),
        "a million levels": ("gzip", gzip.compress(nested(1_000_000))),
        "a million levels in an event": ("gzip", gzip.compress(valid_with(nested(1_000_000)))),
        "a million levels in a batch": (
            "gzip",
            gzip.compress(batch_of(valid_with(nested(1_000_000)))),
        ),
        "a million keys": (
            "gzip",
            gzip.compress(b'{"a":{' + b",".join(b'"%d":1' % n for n in range(300_000)) + b"}}"),
        ),
        "an unknown encoding": ("br", whole),
        "an encoding of 4,000 letters": ("x" * 4000, whole),
        "deflate that is gzip": ("deflate", whole),
        "a UTF-16 gzip": ("gzip", gzip.compress(json.dumps(VALID).encode("utf-16"))),
    }


# Header lines that are well-formed HTTP and well-formed nonsense.
HEADERS: dict[str, list[bytes]] = {
    "a value of 8,000 bytes": [b"X-Long: " + b"a" * 8000],
    "100 headers more": [b"X-Number-%d: %d" % (n, n) for n in range(80)],
    "a name of 1,000 letters": [b"X" * 1000 + b": 1"],
    "bad UTF-8 in a value": [b"X-Bad: \xff\xfe\x80"],
    "bad UTF-8 in the user agent": [b"User-Agent: \xff\xfe\xe2\x82"],
    "latin-1 in the idempotency key": [b"Idempotency-Key: caf\xe9"],
    "an idempotency key of 5,000 letters": [b"Idempotency-Key: " + b"k" * 5000],
    "two idempotency keys": [b"Idempotency-Key: a", b"Idempotency-Key: b"],
    "an empty authorization": [b"Authorization:"],
    "no base64": [b"Authorization: Basic !!!!"],
    "base64 of bad UTF-8": [b"Authorization: Basic //79/A=="],
    "base64 of NULs": [b"Authorization: Basic AAAAAAAA"],
    "a strange scheme": [b"Authorization: Digest username=x"],
    "two authorizations": [b"Authorization: Basic YTo=", b"Authorization: Basic Yjo="],
    "an authorization of 6,000 letters": [b"Authorization: Basic " + b"QUFB" * 1500],
    "a request id that injects": [b'X-Request-Id: <script>"\t{}'],
    "a request id of 3,000 letters": [b"X-Request-Id: " + b"r" * 3000],
    "a request id of bad UTF-8": [b"X-Request-Id: \xff\xff"],
    "a forwarded chain of nonsense": [b"X-Forwarded-For: ,,, nonsense, ::ffff:1.2.3.4, 999.1.1.1"],
    "an origin that is no origin": [b"Origin: \xff\xfe"],
    "an origin of 4,000 letters": [b"Origin: https://" + b"o" * 4000],
    "no content type": [b"Content-Type:"],
    "a content type that lies": [b"Content-Type: image/png; charset=utf-7"],
    "two content types": [b"Content-Type: text/plain", b"Content-Type: application/json"],
    "a strange preference": [b"Prefer: multi-status; \xff, x=" + b"y" * 1000],
    "a write key of bad UTF-8": [b"X-Write-Key: \xff"],
    "a host that is none": [b"X-Forwarded-Host: \xff", b"Forwarded: for=\xff"],
    "a retry count that is none": [b"X-Retry-Count: -1e999"],
    "a sent time that is none": [b"SentAt: \xff"],
    "a cookie of 8,000 bytes": [b"Cookie: a=" + b"c" * 8000],
}

PATHS: dict[str, bytes] = {
    "NUL": b"/v1/%00track",
    "dots": b"/v1/../../etc/passwd",
    "encoded dots": b"/v1/%2e%2e/%2e%2e/etc/passwd",
    "backslashes": b"/v1\\..\\track",
    "a long path": b"/v1/" + b"a" * 20_000,
    "a thousand segments": b"/a" * 1000,
    "a long app id": b"/inappevent/" + b"a" * 8000,
    "an app id of NULs": b"/inappevent/%00%00",
    "an app id of bad UTF-8": b"/inappevent/%ff%fe",
    "an app id of a surrogate": b"/inappevent/%ed%a0%bd",
    "a half escape": b"/v1/track%",
    "a bad escape": b"/v1/track%zz",
    "a long query": b"/v1/track?" + b"a=b&" * 5000,
    "a query of bad UTF-8": b"/v1/pixel/track?data=%ff%fe&writeKey=%00",
    "a query of nothing": b"/v1/pixel/track?&&&===&;;;",
    "a query of dots": b"/v1/pixel/track?" + b"a." * 2000 + b"b=1",
    "a strange type of a pixel": b"/v1/pixel/%00%ff",
    "base64 of nothing": b"/v1/pixel/track?data=====",
    "a write key of bad UTF-8": b"/v1/projects/%ff%00/settings",
    "a person of bad UTF-8": b"/v1/users/%ff",
    "an event of bad UTF-8": b"/v1/events/%c0%af",
    "an erasure of bad UTF-8": b"/v1/erasures/%ed%a0%bd",
    "an import of bad UTF-8": b"/v1/bulk/%ff/rejects",
    "a script of bad UTF-8": b"/analytics.js/v1/%ff/analytics.min.js",
    "an endpoint of bad UTF-8": b"/api/s/%ff",
    "a person of bad UTF-8 in the query": b"/v1/users?id=%ff",
    "parameters of bad UTF-8": b"/v1/bulk?kind=%ff",
    "nothing, in bad UTF-8": b"/%ff",
    "health in bad UTF-8": b"/health/%ff",
    "a long write key": b"/v1/projects/" + b"k" * 8000 + b"/settings",
    "two slashes": b"//v1//track//",
    "a parameter": b"/v1/track;jsessionid=1",
    "a fragment": b"/v1/track%23x",
    "health and more": b"/health/ready/../live",
}

METHODS = (
    "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "FOO", "get", "HEAD", "OPTIONS", "GET", "POST",
)  # fmt: skip
