"""The shelf of wire APIs: one file is one API, and its name is the protocol's.

A protocol is pure (`kit/protocol.py`): it judges requests and shapes events, and does no input or
output. Two protocols never know each other; what they share lies in `kit`.
"""
