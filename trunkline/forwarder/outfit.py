"""What a group sends with: carrier, shaping, and a shadow. Each made again only where it changed.

A new revision leaves the carrier alone, with its connections and tokens; a shadow that comes or
goes leaves the deployed revision alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from trunkline.forwarder.building import make_carrier
from trunkline.forwarder.carrier import Carrier
from trunkline.forwarder.decide import dropper
from trunkline.forwarder.item import Item
from trunkline.forwarder.pace import Pace
from trunkline.forwarder.shadow import Shadow, make_shadow
from trunkline.forwarder.shaping import Shaping, make_shaping
from trunkline.forwarder.shared import Shared
from trunkline.forwarder.threads import Worker
from trunkline.kit.consent import Lacks, lacks_consent
from trunkline.kit.protection import Protect, protector
from trunkline.model.snapshot import Destination as Configured
from trunkline.playbook.program import Shaped
from trunkline.telemetry import forwarder as telemetry


class Outfit:
    """Without a `carrier` nothing can be sent: settings or playbook cannot be used."""

    def __init__(self, shared: Shared, worker: Worker) -> None:
        self.carrier: Carrier | None = None
        self.shaping: Shaping | None = None
        self.protect: Protect | None = None
        self.lacks: Lacks | None = None
        self.drops: Lacks | None = None
        self._shadow: Shadow | None = None
        self._shared = shared
        self._worker = worker
        self._pace = Pace(shared.clock)
        self._carrier_of: tuple[object, ...] = ()
        self._shaping_of: tuple[object, ...] = ()
        self._shadow_of: tuple[object, ...] = ()

    def fit(self, config: Configured) -> Carrier:
        """Bring everything to what the catalog says.

        Raises `ValueError` or `msgspec.DecodeError` with a sentence where it cannot be used; there
        is no carrier then.
        """
        try:
            return self._fit(config)
        except ValueError:  # msgspec's are such
            self.drop()
            raise

    def _fit(self, config: Configured) -> Carrier:
        self.protect = protector(config)
        self.lacks, self.drops = lacks_consent(config), dropper(config)
        carrier_of = (config.kind, config.settings)
        if self.carrier is None or carrier_of != self._carrier_of:
            self._drop_carrier()
            self.carrier = make_carrier(config, self._shared, self._worker, self._pace)
            self._carrier_of = carrier_of
        shaping_of = (*carrier_of, config.playbook, config.revision, bool(config.shadow))
        if shaping_of != self._shaping_of:
            self._shape_by(config, self.carrier)
            self._shaping_of = shaping_of
        shadow_of = (*carrier_of, config.shadow, config.shadow_revision)
        if shadow_of != self._shadow_of:
            self._drop_shadow()
            self._shadow = make_shadow(config, self.carrier.settings.params, self._shared)
            self._shadow_of = shadow_of
        return self.carrier

    def _shape_by(self, config: Configured, carrier: Carrier) -> None:
        shaping = make_shaping(config, carrier.settings.params, carrier.code, self._shared)
        if self.shaping is not None:
            self.shaping.retire()
        if shaping is not None or self.shaping is not None:
            telemetry.revision_taken(config.app, config.id, config.revision)
        self.shaping = shaping

    def compare(self, items: Sequence[Item], now_ms: int, shaped: Sequence[Shaped]) -> None:
        """Have the shadow shape what was just shaped, if there is one."""
        if self._shadow is not None:
            self._shadow.offer(items, now_ms, shaped)

    def drop(self) -> None:
        """Let go of everything, in its own time."""
        self._drop_carrier()
        self._drop_shadow()
        if self.shaping is not None:
            self.shaping.retire()
            self.shaping = None
        self._shaping_of = ()

    def _drop_carrier(self) -> None:
        carrier, self.carrier = self.carrier, None
        if carrier is not None:
            self._shared.tasks.start(carrier.close())

    def _drop_shadow(self) -> None:
        shadow, self._shadow = self._shadow, None
        self._shadow_of = ()
        if shadow is not None:
            shadow.close()
