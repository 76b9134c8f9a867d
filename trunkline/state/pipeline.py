"""The pipeline's state file: positions in ACCEPTED, ledger of acceptance, refused events, twins.

Written by the pipeline in one transaction after each append to EVENTS. It may lag EVENTS after a
crash; the pipeline brings it up to date from there before it goes on.

- `position`: the next record of ACCEPTED for each partition, and of EVENTS the offset below which
  every id was put into the index.
- `id_file`: how far each file of the index covered EVENTS then (`state/ids.py`).
- `setting.dedupe_since_ms`: there while the index is too full for its window: since when it knows
  every id, in Unix milliseconds.
- `refused`: at most `refused_max` rows an app, then one in 100 in place of the oldest. `origin` is
  what it takes to send one again (`model/record.py`), NULL where that is not known.
- `twin`: one row for each duplicate; `partition` and `offset` are the twin's own in ACCEPTED.
- `import_twin`: how many duplicates each import brought; twins themselves go sooner.

`ledger.kind` is one of received, refused, duplicate, accepted; `reason` is set for refused.
`minute` is Unix minutes of acceptance; `snapshot` the catalog snapshot that decided.
"""

MIGRATIONS = (
    """
    CREATE TABLE position (topic TEXT, partition INTEGER, next INTEGER NOT NULL,
        PRIMARY KEY (topic, partition)) WITHOUT ROWID;
    CREATE TABLE id_file (name TEXT PRIMARY KEY, first INTEGER NOT NULL, next INTEGER NOT NULL)
        WITHOUT ROWID;
    CREATE TABLE ledger (app TEXT, minute INTEGER, snapshot INTEGER, kind TEXT, reason TEXT,
        count INTEGER NOT NULL,
        PRIMARY KEY (app, minute, snapshot, kind, reason)) WITHOUT ROWID;
    CREATE INDEX ledger_by_minute ON ledger (minute);
    CREATE TABLE refused (id INTEGER PRIMARY KEY, app TEXT NOT NULL, at_ms INTEGER NOT NULL,
        protocol TEXT NOT NULL, key TEXT NOT NULL, address TEXT NOT NULL, request_id TEXT NOT NULL,
        code TEXT NOT NULL, message TEXT NOT NULL, message_id TEXT NOT NULL, body BLOB NOT NULL,
        count INTEGER NOT NULL);
    CREATE INDEX refused_by_app ON refused (app, id);
    CREATE TABLE twin (app TEXT, message_id TEXT, at_ms INTEGER, protocol TEXT, key TEXT,
        address TEXT, request_id TEXT, partition INTEGER, offset INTEGER,
        PRIMARY KEY (app, message_id, partition, offset)) WITHOUT ROWID;
    CREATE INDEX twin_by_age ON twin (at_ms);
    CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    """,
    """
    ALTER TABLE refused ADD COLUMN origin BLOB;
    """,
    """
    CREATE TABLE import_twin (name TEXT PRIMARY KEY, count INTEGER NOT NULL,
        at_ms INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO import_twin
        SELECT substr(request_id, 1, instr(request_id, ':') - 1), count(*), max(at_ms)
        FROM twin WHERE partition=1000 AND instr(request_id, ':') > 1 GROUP BY 1;
    """,
)
