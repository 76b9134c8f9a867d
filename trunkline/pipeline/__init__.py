"""ACCEPTED → duplicates, canonical form, tracking plan → EVENTS.

Read `engine.py` first: one step. `judge.py` says what becomes of each record, `shape.py` makes the
canonical event, `books.py` keeps positions, ledger, refused events and twins.
"""
