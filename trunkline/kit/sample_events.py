"""Two canonical events for the examples of every kind: a page, a golden test and a test event."""

from __future__ import annotations

from typing import Any

PURCHASE: dict[str, Any] = {
    "messageId": "7d0a2c1e-3f64-4b7e-9b1a-52f1c6d8e901",
    "type": "track",
    "event": "Purchase Completed",
    "userId": "u-42",
    "timestamp": "2026-11-20T10:15:30.000Z",
    "receivedAt": "2026-11-20T10:15:30.120Z",
    "properties": {"revenue": 29.9, "currency": "USD", "order_id": "A-1001"},
    "app": "zcmwmxbkmuodelu",
    "source": {"protocol": "s2s", "key": "backend", "slug": "taqsq"},
}
SIGN_UP: dict[str, Any] = {
    "messageId": "order-1002-signup",
    "type": "identify",
    "userId": "u-43",
    "timestamp": "2026-11-20T10:15:31.000Z",
    "receivedAt": "2026-11-20T10:15:31.045Z",
    "traits": {"plan": "gold"},
    "app": "zcmwmxbkmuodelu",
    "source": {"protocol": "tracking", "key": "backend"},
}
