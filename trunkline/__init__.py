"""Trunkline: a self-hosted server-to-server event platform.

A server sends one event; Trunkline says yes only when that event is safe on disk, checks it,
shapes it for every destination its operator chose, delivers it to each of them, and can tell at
any later time what became of it.

To read the code: start with `node.py` (the whole path wired in one function), then
`model/outcome.py`, `kit/destination.py`, `destinations/webhook.py`.
"""

__version__ = "0.1.0"
