"""Files of history that came over HTTP: taken into the books, and told of.

The gateway has the file on disk, synced and held, when it asks. What is answered yes is durable:
the file, and the import's row. The worker does the rest (`bulk/worker.py`).
"""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from trunkline.kit.clock import Clock
from trunkline.kit.desk import ImportAsked, ImportOrdered, Reply
from trunkline.kit.import_terms import ImportKind
from trunkline.reports.imports import rejects_file, tell_import
from trunkline.state.home import Home
from trunkline.state.imports import ImportRow, TooManyImports, looking_at_imports, open_imports

OPEN_MAX = 100  # imports of one app that are not through
LISTED_MAX = 100

_encode = msgspec.json.Encoder().encode


class _Taken(Struct):
    """What is answered to whoever sent a file."""

    status: Literal["accepted"]
    id: str
    kind: ImportKind
    bytes: int


class ImportDesk:
    """Answers what is asked of imports. Reading and writing is done in a thread."""

    def __init__(self, home: Home, clock: Clock) -> None:
        self._home = home
        self._clock = clock

    async def order(self, question: ImportOrdered) -> Reply:
        """Put a file into the books; one that came before is answered as it was then."""
        return await asyncio.to_thread(self._order, question)

    async def tell(self, question: ImportAsked) -> Reply:
        """Tell how far an import is, list the latest, or hand out the rejects of one."""
        return await asyncio.to_thread(self._tell, question)

    def _order(self, question: ImportOrdered) -> Reply:
        file = question.file
        if file is None:
            raise ValueError("an import was ordered without a file")
        new = self._new_row(question, file)
        try:
            with open_imports(self._home) as imports:
                row = imports.order(new, self._is_there, OPEN_MAX)
        except TooManyImports:
            file.unlink(missing_ok=True)
            return Reply("full")
        if row.spool != file.name:
            file.unlink(missing_ok=True)  # it is there already, or was taken in
        return Reply("taken", _encode(_Taken("accepted", row.name, row.kind, row.size)))

    def _new_row(self, question: ImportOrdered, file: Path) -> ImportRow:
        terms = question.terms
        return ImportRow(
            name=f"import-{uuid.uuid4().hex[:12]}",
            app=question.app,
            path="",
            size=file.stat().st_size,
            mtime_ns=0,
            head=question.digest,
            terms=_encode(terms).decode(),
            started_ms=self._clock.now_ms(),
            kind=terms.kind,
            key=question.key,
            spool=file.name,
        )

    def _is_there(self, name: str) -> bool:
        return (self._home.imports_folder / name).is_file()

    def _tell(self, question: ImportAsked) -> Reply:
        with looking_at_imports(self._home) as imports:
            if not question.job:
                return self._list(imports.latest(question.app, LISTED_MAX) if imports else [])
            row = imports.get(question.job) if imports else None
        if row is None or row.app != question.app:
            return Reply("missing")
        if not question.rejects:
            return Reply("found", _encode(tell_import(self._home, row, self._clock.now_ms())))
        return self._find_rejects(row)

    def _find_rejects(self, row: ImportRow) -> Reply:
        file = rejects_file(self._home, row.name)
        return Reply("found", b"", file) if file.is_file() else Reply("missing")

    def _list(self, rows: list[ImportRow]) -> Reply:
        now_ms = self._clock.now_ms()
        told = [tell_import(self._home, row, now_ms) for row in rows]
        return Reply("found", _encode({"imports": told}))
