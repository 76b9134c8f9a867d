"""What `playbook test` and `playbook diff` work with: a home's catalog, its log, and a jail."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import msgspec

from trunkline.cli._frame import CommandError, open_home, read_boot
from trunkline.cli._node import find_destination, read_snapshot
from trunkline.cli._playbook_source import Source, find_by_id, last_events
from trunkline.jail.workshop import JailWorkshop
from trunkline.kit.clock import SystemClock
from trunkline.kit.destination import Mapped
from trunkline.model.snapshot import Destination
from trunkline.node import destination_kinds, open_log
from trunkline.playbook.program import Shaped
from trunkline.reports.rendering import Renderer
from trunkline.reports.revisions import finder
from trunkline.state.ids import IdReader


class Bench:
    """A home to try playbooks in. Use as a context manager."""

    def __init__(self, home: Path) -> None:
        self.home = open_home(home)
        self.clock = SystemClock()
        boot = read_boot(self.home)
        self.find_playbook = finder(self.home)
        self.renderer = Renderer(
            destination_kinds(), self.find_playbook, lambda: JailWorkshop(boot.jail, self.clock)
        )
        self._log = open_log(self.home, boot, self.clock)
        self._snapshot = read_snapshot(self.home)

    def __enter__(self) -> Bench:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._log.close()

    def find_destination(self, name: str) -> Destination:
        """Return the destination called ID or APP/ID. Raises `CommandError`."""
        return find_destination(self._snapshot, name)

    def params_of(self, destination: Destination) -> dict[str, str]:
        """Return the values of a destination's params."""
        kind = destination_kinds()[destination.kind]
        return dict(msgspec.json.decode(destination.settings, type=kind.settings_type).params)

    def read_events(self, ids: Sequence[str], last: int, app: str | None) -> list[Mapped]:
        """Return accepted events by their ids, then the last ones. Raises `CommandError`."""
        reader = IdReader(self.home.ids_folder)
        try:
            found = [find_by_id(self._log, reader, self._snapshot, each) for each in ids]
        finally:
            reader.close()
        return found + (last_events(self._log, app, last) if last else [])

    def shape(
        self, source: Source, events: Sequence[Mapped], at_ms: int, *, explain: bool = False
    ) -> list[Shaped]:
        """Shape events. Raises `CommandError` where the playbook cannot be run."""
        made = self.renderer.shape_by(source.work, source.told, events, at_ms, explain=explain)
        if made.note:
            raise CommandError(made.note)
        return made.shaped
