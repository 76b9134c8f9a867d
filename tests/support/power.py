"""A disk that can lose its power: an apsw VFS that knows what was synced and what was not.

    vfs = PowerVFS("power-1")
    … open files with vfs="power-1" and work …
    vfs.cut_after(7)                  # optional: the 7th operation from now fails, and all after it
    vfs.lose_power(root, other_root, rng)
    … open other_root with the same VFS: it holds what a disk may hold after the loss …
    vfs.kill(root, other_root)        # instead: what a SIGKILL leaves; all that was written

At a loss a file holds what was synced, and any seeded subset of the writes since, each torn at
sectors of 512 bytes. A file whose name was never synced may be absent; a deleted one may be back.
`-shm` files are memory and go. Files that were not opened through the VFS come along as they are.

It records from any thread. A real fsync is left out: the machine under the test keeps its power,
and a sync here means only that the bytes may count as kept.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import stat
import sys
import threading
from collections.abc import Callable, Generator
from pathlib import Path

import apsw

SECTOR = 512
_LOGS = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL


class _Shadow:
    """What the disk surely has of a file, and what it may have."""

    def __init__(self, kept: bytes | None, ghost: bytes | None = None) -> None:
        self.kept = bytearray(kept or b"")
        self.is_name_kept = kept is not None
        self.pending: list[Callable[[bytearray, random.Random, float], None]] = []
        self.settled: list[Callable[[bytearray], None]] = []
        self.ghost = ghost  # the file of this name that was deleted before, its delete not synced
        self.is_deleted = False
        self.syncs_folder = False  # its first sync also syncs the folder, as unix does for logs

    def write(self, offset: int, data: bytes) -> None:
        def whole(content: bytearray) -> None:
            _put(content, offset, data)

        def torn(content: bytearray, rng: random.Random, chance: float) -> None:
            start = 0
            while start < len(data):
                end = min(len(data), (offset + start) // SECTOR * SECTOR + SECTOR - offset)
                if rng.random() < chance:
                    _put(content, offset + start, data[start:end])
                start = end

        self.settled.append(whole)
        self.pending.append(torn)

    def truncate(self, size: int) -> None:
        def whole(content: bytearray) -> None:
            del content[size:]

        def maybe(content: bytearray, rng: random.Random, chance: float) -> None:
            if rng.random() < chance:
                whole(content)

        self.settled.append(whole)
        self.pending.append(maybe)

    def sync(self) -> None:
        """Keep what was written so far, and the file's name."""
        for apply in self.settled:
            apply(self.kept)
        self.settled.clear()
        self.pending.clear()
        self.is_name_kept = True
        self.ghost = None

    def after_loss(self, rng: random.Random, chance: float) -> bytes | None:
        """Return what the disk may hold; None: no such file."""
        if not self.is_name_kept and rng.random() >= chance:
            return self.ghost
        if self.is_deleted and rng.random() < chance:
            return None
        content = bytearray(self.kept)
        for apply in self.pending:
            apply(content, rng, chance)
        return bytes(content)


def _put(content: bytearray, offset: int, data: bytes) -> None:
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _gone_with_a_process(folder: str, names: list[str]) -> set[str]:
    """Name what does not outlive its process: mapped memory, and FIFOs nobody holds."""
    fifos = {name for name in names if stat.S_ISFIFO(Path(folder, name).lstat().st_mode)}
    return fifos | {name for name in names if name.endswith("-shm")}


_OURS = ("the power is off", "the power went off", "the test made this sync fail")


def _hear_only_others() -> None:
    """Keep quiet about our failures where SQLite met them and has nobody to tell, as in a close."""
    before = sys.unraisablehook
    if getattr(before, "is_ours", False):
        return

    def hook(unraisable: sys.UnraisableHookArgs) -> None:
        if str(unraisable.exc_value) not in _OURS:
            before(unraisable)

    hook.is_ours = True  # type: ignore[attr-defined]  # a mark on a function of ours
    sys.unraisablehook = hook


class PowerVFS(apsw.VFS):
    """The VFS. `operations` counts writes, truncations, syncs and deletes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.operations = 0
        self.is_off = False
        self.is_full = False
        self.syncs_to_fail = 0
        self._cut_at: int | None = None
        self._lock = threading.RLock()
        self._shadows: dict[str, _Shadow] = {}
        super().__init__(name, "")
        _hear_only_others()

    def cut_after(self, operations: int) -> None:
        """Lose the power in the middle of the n-th operation from now: it and all later fail."""
        with self._lock:
            self._cut_at = self.operations + operations

    def lose_power(self, source_root: Path, target_root: Path, rng: random.Random) -> None:
        """Build in a new folder what the disk may hold, and switch the power on again.

        Whoever worked in the old folder must be done with it: nothing there is recorded any more.
        """
        with self._lock:
            chance = rng.choice((0.0, 1.0, 0.5, rng.random()))
            shutil.copytree(source_root, target_root, ignore=self._is_not_copied, symlinks=True)
            prefix = f"{source_root.absolute()}{os.sep}"
            for name in sorted(self._shadows):
                if name.startswith(prefix):
                    self._settle(name, target_root / name.removeprefix(prefix), rng, chance)
            self.switch_on()

    def kill(self, source_root: Path, target_root: Path) -> None:
        """Build in a new folder what a SIGKILL leaves: all that was written, synced or not.

        What was not synced stays so: a loss of power that comes later may still take it.
        """
        with self._lock:
            shutil.copytree(source_root, target_root, ignore=_gone_with_a_process, symlinks=True)
            prefix = f"{source_root.absolute()}{os.sep}"
            for name in [name for name in self._shadows if name.startswith(prefix)]:
                moved = str(target_root.absolute() / name.removeprefix(prefix))
                self._shadows[moved] = self._shadows.pop(name)
            self.switch_on()

    def switch_on(self) -> None:
        """End every fault."""
        self._cut_at, self.is_off, self.is_full, self.syncs_to_fail = None, False, False, 0

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        if name is None:
            return apsw.VFSFile("", name, flags)
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        with self._lock:
            shadow = self._shadows.get(path)
            if shadow is None:
                # Unknown: whatever is there now was there before, so the disk has it.
                there = Path(path)
                shadow = _Shadow(there.read_bytes() if there.exists() else None)
            elif shadow.is_deleted or not Path(path).exists():
                shadow = _Shadow(None, bytes(shadow.kept) if shadow.is_name_kept else shadow.ghost)
            # Also a log that was there before: strace shows the folder's fdatasync right behind the
            # first fdatasync of each connection's log.
            shadow.syncs_folder |= bool(flags[0] & _LOGS)
            file = _PowerFile(self, shadow, path, name, flags)
            self._shadows[path] = shadow
            return file

    def xDelete(self, name: str, is_synced: bool) -> None:
        if self.is_off:
            return  # closing after the end is no error, and deletes nothing
        with self.operation():
            super().xDelete(name, is_synced)
            shadow = self._shadows.get(name)
            if shadow is not None and is_synced:
                self._shadows[name] = _Shadow(None)
            elif shadow is not None:
                shadow.is_deleted = True

    def sync_folder(self, folder: Path) -> None:
        """Keep the names in a folder as they are now."""
        with self._lock:
            for name, shadow in list(self._shadows.items()):
                if Path(name).parent != folder:
                    continue
                if shadow.is_deleted or not Path(name).exists():
                    del self._shadows[name]
                else:
                    shadow.is_name_kept, shadow.ghost = True, None

    @contextlib.contextmanager
    def operation(self) -> Generator[None]:
        """Count an operation and let it through, or fail as the test asked."""
        with self._lock:
            if self.is_off:
                raise apsw.IOError("the power is off")
            self.operations += 1
            if self._cut_at is not None and self.operations >= self._cut_at:
                self.is_off = True
                raise apsw.IOError("the power went off")
            yield

    def _settle(self, name: str, target: Path, rng: random.Random, chance: float) -> None:
        shadow = self._shadows.pop(name)
        if not Path(name).exists():
            shadow.is_deleted = True  # by an unlink that the VFS was not asked for
        content = shadow.after_loss(rng, chance)
        if content is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)

    def _is_not_copied(self, folder: str, names: list[str]) -> set[str]:
        return {
            name
            for name in names
            if name.endswith("-shm")
            or (path := str(Path(folder, name).absolute())) in self._shadows
            or stat.S_ISFIFO(Path(path).lstat().st_mode)
        }


class _PowerFile(apsw.VFSFile):
    def __init__(
        self,
        vfs: PowerVFS,
        shadow: _Shadow,
        path: str,
        name: str | apsw.URIFilename,
        flags: list[int],
    ) -> None:
        self._vfs = vfs
        self._shadow = shadow
        self._folder = Path(path).parent
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        if self._vfs.is_full:
            raise apsw.FullError("the test filled the disk")
        piece = bytes(data)
        with self._vfs.operation():
            self._shadow.write(offset, piece)
            super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:
        with self._vfs.operation():
            self._shadow.truncate(size)
            super().xTruncate(size)

    def xSync(self, flags: int) -> None:
        with self._vfs.operation():
            if self._vfs.syncs_to_fail > 0:
                self._vfs.syncs_to_fail -= 1
                raise apsw.IOError("the test made this sync fail")
            self._shadow.sync()
            if self._shadow.syncs_folder:
                self._shadow.syncs_folder = False
                self._vfs.sync_folder(self._folder)
