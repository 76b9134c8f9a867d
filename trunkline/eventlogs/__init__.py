"""The shelf of event logs: one file each, its name is its kind. Contract: `kit/eventlog.py`."""
