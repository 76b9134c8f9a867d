"""Playbooks: how the events of one destination are shaped. Pure; no input or output, no clock.

    parse_playbook (check.py) → Playbook (spec.py) → compile_playbook (compile.py) → Program
                                                   → closures_of (closures.py), the test oracle

`program.py` holds the types that everybody else needs. What operators write (Lua, Python,
JavaScript) comes in through a `CodeLoader`, which only a jailed worker has.
"""
