"""History in bulk: files of events on their way into ACCEPTED.

A file is read row by row (`rows`, `tables`), a row of columns becomes an event (`mapping`), each
event is judged by the protocol whose shape it has (`judging`), and what is good is appended to a
partition of ACCEPTED that belongs to imports alone (`importing`). So an import works beside a
running node and without one, and what was written down of it (`state/imports.py`) lets it go on.
Files that came over HTTP are worked on by the node itself (`worker`); rows may be users (`users`).
"""
