"""The device that a push to a person goes to: the newest that their profile knows of."""

from __future__ import annotations

import contextlib

import apsw
import msgspec

from trunkline.kit.identifiers import PUSH_TOKEN, PushToken
from trunkline.reports.profiles import show_profile
from trunkline.state.db import StateVersionError
from trunkline.state.home import Home
from trunkline.state.profiles import ProfileStore, read_profiles


class PushTokens:
    """Looks devices up in the profile store. For one thread; open from the first look to `close`.

    A store that cannot be read is told apart from a person of whom no device is known: by `fault`.
    It is asked no more until `close`: whoever asks for a thousand people must not wait for each.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._opened = contextlib.ExitStack()
        self._store: ProfileStore | None = None
        self._is_open = False
        self.fault = ""

    def find(self, app: str, user_id: str) -> PushToken | None:
        """Return the device of a user; None where none is known, or the store cannot be read."""
        if self.fault:
            return None
        try:
            if not self._is_open:
                self._is_open = True
                self._store = self._opened.enter_context(read_profiles(self._home))
            profile = show_profile(self._store, app, f"userId:{user_id}") if self._store else None
        except (apsw.Error, StateVersionError, OSError) as error:
            self.fault = f"{type(error).__name__}: {error}"
            return None
        value = profile.traits.get(PUSH_TOKEN) if profile else None
        try:
            return None if value is None else msgspec.json.decode(value, type=PushToken)
        except msgspec.ValidationError:  # a trait of this name that a sender gave
            return None

    def close(self) -> None:
        """Let go of the store, so that it may be wiped; the next look opens it again."""
        self._opened.close()
        self._store, self._is_open, self.fault = None, False, ""
