"""EVENTS → filter, batch, send, judge, retry, wait, park, dead letters. One group a destination.

The files, from the outside in: `engine` (the loop: head, snapshot, ticks), `catchup` (groups that
fell behind), `group` (one destination), `probing` (a parked one), `settling` (what an answer does),
`lanes` and `waiting` (order), `decide` (who may have an event), `carrier` (one attempt), `changes`
and `writer` (one transaction for all), `inbox`, `jobs` and `retention` (beside the path).
"""
