"""What is configured: the database, the workspace file, secrets, and the snapshots made of them.

An operator's change goes one way: file or command → `read_workspace` → `plan_changes` → one
transaction that also counts the version up → a bell → every process loads the new `Snapshot` whole
(`follow`). Engines see nothing of this room but the snapshot.
"""
