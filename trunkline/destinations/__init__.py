"""The shelf of destinations: one file is one kind, its name is the kind, the folder is the list.

To add one, write one file: a settings struct, examples, and a `Destination` (see `webhook.py`) or,
where the service is no HTTP call, a `Channel` (see `file.py`). Tests and reference page find it.
"""
