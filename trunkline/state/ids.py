"""The index of ids: which record of EVENTS an (app, messageId) became. For duplicates and traces.

An event whose sender called it otherwise than its messageId is found by that, too (`given_key`).

It is a cache of EVENTS. The pipeline puts ids here after their append returned, without a sync; a
power loss may take the last of them back, file by file. So each file says how far it covers EVENTS,
the pipeline's state says how far each file should, and where they differ EVENTS is read again
(`IdIndex.covered`).

Files are named by the UTC day of receipt, `2026-11-22.db`, a busy day has parts, `2026-11-22.1.db`.
The oldest are unlinked whole, when they are too old or when the index is full.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import apsw

from trunkline.state.id_file import (
    BUCKETS,
    FileName,
    IdEntry,
    IdFile,
    IdFileReader,
    given_key,
    id_key,
)
from trunkline.state.id_filter import SLOTS, IdFilter
from trunkline.telemetry import pipeline as telemetry

__all__ = ["FileName", "IdEntry", "IdIndex", "IdReader", "Mark", "given_key", "id_key"]

DAY_MS = 86_400_000
FILE_IDS_MAX = 2_000_000  # 70 MB; in larger ones the ids that settle together share no pages
FILES_MAX = 200  # three descriptors each
_EPOCH = datetime.date(1970, 1, 1).toordinal()
_DAY_MAX = datetime.date.max.toordinal() - _EPOCH
_FILE = re.compile(r"(\d{4}-\d\d-\d\d)(?:\.(\d+))?\.db")

Mark = tuple[int, int]  # EVENTS offsets: of the file's first id, and the next it does not cover


class IdIndex:
    """The one writer of the index.

    `ids_max` bounds it: past it `too_many` names the oldest files. What a step of 1,000 ids that
    are new costs hardly grows with what is stored. Measured, in µs of processor an id, to find and
    to put: 0.9 + 3.0 at 100,000 stored, 1.2 + 3.6 at 2,500,000 over 6 days, in turns in one run on
    a busy machine (a quiet one: 0.6 + 2.1). An id that is stored costs about 25 µs to find.
    """

    def __init__(self, folder: Path, ids_max: int, vfs: str | None = None) -> None:
        self._folder = folder
        self._ids_max = ids_max
        self._vfs = vfs
        self._file_ids_max = max(1, min(FILE_IDS_MAX, ids_max // SLOTS))
        self._files: dict[FileName, IdFile] = {}
        self._filter = IdFilter()
        self._cold: dict[FileName, int] = {}  # files the filter does not know whole: next bucket
        folder.mkdir(parents=True, exist_ok=True)
        for name, path in sorted(_files_of(folder)):
            self._open(name, path)

    @property
    def ids(self) -> int:
        """How many ids are held; one that was put again counts again."""
        return sum(file.ids for file in self._files.values())

    @property
    def since_ms(self) -> int:
        """Since when every id is held, in Unix milliseconds; 0 where nothing is."""
        name = min(self._files, default=FileName(0, 0))
        return (name.day + (name.part > 0)) * DAY_MS

    def find_many(self, keys: Sequence[bytes]) -> dict[bytes, list[IdEntry]]:
        """Return what is known of each key; most have no entry, few have several.

        Several: the id came again after the window of duplicates.
        """
        found: dict[bytes, list[IdEntry]] = {}
        cold = 0
        for name in self._cold:
            cold |= 1 << _slot(name)
        asked: dict[int, list[bytes]] = {}
        for key, slots in zip(keys, self._filter.slots_of(keys), strict=True):
            if slots | cold:
                asked.setdefault(slots | cold, []).append(key)
        for slots, some in asked.items():
            files = [file for name, file in self._files.items() if slots >> _slot(name) & 1]
            for file in files:
                for key, entry in file.find_many(set(some)):
                    found.setdefault(key, []).append(entry)
        return found

    def put_many(self, entries: Sequence[tuple[bytes, IdEntry]], next_: int) -> None:
        """Store the ids of a step, in the order of EVENTS, whose next offset is then `next_`."""
        by_day: dict[int, list[tuple[bytes, IdEntry]]] = {}
        for item in entries:
            day = min(max(0, item[1].received_ms // DAY_MS), _DAY_MAX)
            by_day.setdefault(day, []).append(item)
        for day, some in by_day.items():
            file = self._file_for(day)
            self._filter.add(_slot(file.name), [key for key, _ in some])
            file.put_many(some, next_)
        for file in self._files.values():
            if file.name.day not in by_day and not file.is_settled:
                file.settle_some()

    def marks(self) -> dict[str, Mark]:
        """Return for each file, by its name, what it covers of EVENTS now."""
        return {_stem(n): (f.first, f.next) for n, f in self._files.items() if f.first >= 0}

    def covered(self, expected: Mapping[str, Mark], next_: int) -> int:
        """Return the EVENTS offset below which surely every id is here.

        `expected` are the marks that were saved when all ids below `next_` had been put. A file
        that lags its mark lost its last transactions, one that is missing all of them.
        """
        low = next_
        for stem, (first, file_next) in expected.items():
            file = self._files.get(_parse(stem))
            if file is None or file.first < 0:
                low = min(low, first)
            elif file.next < file_next:
                low = min(low, file.next)
        return low

    def too_old(self, keep_days: float) -> list[str]:
        """Return the files whose day ended more than `keep_days` before the newest one began."""
        newest = max(self._files, default=FileName(0, 0)).day
        return [_stem(n) for n in sorted(self._files) if n.day + 1 + keep_days < newest]

    def too_many(self) -> list[str]:
        """Return the oldest files that there is no room for; never the newest."""
        ids, names = self.ids, sorted(self._files)
        dropped: list[str] = []
        for name in names[:-1]:
            if ids <= self._ids_max and len(names) - len(dropped) <= FILES_MAX:
                break
            dropped.append(_stem(name))
            ids -= self._files[name].ids
        return dropped

    def release(self, stems: Sequence[str]) -> None:
        """Look into these files no more. They stay on disk until `unlink`."""
        slots = set[int]()
        for stem in stems:
            file = self._files.pop(_parse(stem), None)
            if file is not None:
                self._cold.pop(file.name, None)
                slots.add(_slot(file.name))
                file.close()
        self._filter.clear(slots - {_slot(name) for name in self._files})

    def unlink(self, stems: Sequence[str]) -> None:
        """Remove released files."""
        for stem in stems:
            for suffix in (".db", ".db-wal", ".db-shm"):
                (self._folder / (stem + suffix)).unlink(missing_ok=True)

    def drop_all(self) -> None:
        """Remove everything, to be made again from EVENTS."""
        stems = [_stem(name) for name in self._files]
        self.release(stems)
        self.unlink(stems)

    def warm(self, ids_max: int) -> int:
        """Let the filter learn up to so many stored ids, newest files first; return how many.

        Until it knows a file whole, every id is looked up there.
        """
        learnt = 0
        while self._cold and learnt < ids_max:
            name = max(self._cold)
            keys = self._files[name].settled_keys(self._cold[name])
            self._filter.add(_slot(name), keys)
            learnt += len(keys)
            self._cold[name] += 1
            if self._cold[name] == BUCKETS:
                del self._cold[name]
        return learnt

    def checkpoint(self) -> bool:
        """Bring everything to the disk; False where a reader was in the way of a part."""
        done = [file.checkpoint() for file in self._files.values()]
        return all(done)

    def close(self) -> None:
        """Let go of all files."""
        for file in self._files.values():
            file.close()
        self._files.clear()
        self._cold.clear()

    def _open(self, name: FileName, path: Path) -> IdFile:
        try:
            file = IdFile(path, name, self._vfs)
        except (apsw.CorruptError, apsw.NotADBError) as error:
            # A cache: made again from EVENTS, as far back as EVENTS goes (`covered`).
            telemetry.id_file_corrupt(path.name, str(error))
            self.unlink([_stem(name)])
            file = IdFile(path, name, self._vfs)
        self._files[name] = file
        fresh = file.fresh_keys()
        for start in range(0, len(fresh), 1000):
            self._filter.add(_slot(name), fresh[start : start + 1000])
        if file.ids > file.fresh_ids:
            self._cold[name] = 0
        return file

    def _file_for(self, day: int) -> IdFile:
        parts = [name.part for name in self._files if name.day == day]
        part = max(parts, default=0)
        file = self._files.get(FileName(day, part))
        if file is not None and file.ids >= self._file_ids_max:
            part, file = part + 1, None
        name = FileName(day, part)
        return file or self._open(name, self._folder / f"{_stem(name)}.db")


class IdReader:
    """The index as another process looks into it, for a trace."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[Path, IdFileReader] = {}

    def find(self, app: str, message_id: str) -> IdEntry | None:
        """Return where an id is, the newest where it came again after the window; else None.

        A messageId first; else the newest event that its sender gave this id.
        """
        return self._find(id_key(app, message_id)) or self._find(given_key(app, message_id))

    def _find(self, key: bytes) -> IdEntry | None:
        paths = [path for _, path in sorted(_files_of(self._folder), reverse=True)]
        for path in paths:
            if path not in self._files:
                self._files[path] = IdFileReader(path)
            entry = self._files[path].find(key)
            if entry is not None:
                return entry
        return None

    def close(self) -> None:
        """Let go of all files."""
        for file in self._files.values():
            file.close()
        self._files.clear()


def _files_of(folder: Path) -> Iterator[tuple[FileName, Path]]:
    if folder.is_dir():
        for path in folder.iterdir():
            if _FILE.fullmatch(path.name):
                yield _parse(path.name.removesuffix(".db")), path


def _slot(name: FileName) -> int:
    return (name.day + name.part) % SLOTS


def _stem(name: FileName) -> str:
    day = datetime.date.fromordinal(_EPOCH + name.day).isoformat()
    return f"{day}.{name.part}" if name.part else day


def _parse(stem: str) -> FileName:
    day, _, part = stem.partition(".")
    return FileName(datetime.date.fromisoformat(day).toordinal() - _EPOCH, int(part or 0))
