"""EVENTS → filter, playbook, batch, send, judge, retry, wait, park, dead letters. One group each.

The files, from the outside in: `engine` (the loop: head, snapshot, ticks), `reading` (the log, at
the head and behind it), `group` (one destination), `probing` (a parked one), `attempting` (one
attempt: `shaping`, then `carrier`), `outfit` (what it is made with), `shadow` (what another
revision would have made), `settling` (what an answer does), `lanes` and `waiting` (order), `decide`
(who may have an event), `tally`, `changes` and `writer` (one transaction for all), `inbox`, `jobs`
and `retention` (beside the path).
"""
