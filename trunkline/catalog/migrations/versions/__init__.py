"""The revisions, numbered; `database.REVISION` names the newest."""
