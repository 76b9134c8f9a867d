"""Secrets at rest: sealed with the home's own key, which is a file beside the database.

Who has the database alone (a copy, a PostgreSQL server's administrator) has no secret. Who has the
whole home has everything: that is what a backup is.
"""

from __future__ import annotations

import hmac
import os
import secrets
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from trunkline.kit.folders import sync_folder


class VaultError(Exception):
    """A secret cannot be unsealed; the message says which file is missing or wrong."""


class Vault:
    """Seals and opens secrets with one key."""

    def __init__(self, key: bytes, key_file: Path) -> None:
        self._fernet = Fernet(key)
        self._key = key
        self._key_file = key_file

    def __repr__(self) -> str:
        return f"Vault({self._key_file})"

    def seal(self, data: bytes) -> bytes:
        """Return the data as only this key opens it."""
        return self._fernet.encrypt(data)

    def derive(self, purpose: bytes) -> bytes:
        """Return a key of 32 bytes for another purpose; it says nothing about this one."""
        return hmac.digest(self._key, purpose, "sha256")

    def open(self, sealed: bytes) -> bytes:
        """Return what was sealed. Raises `VaultError`."""
        try:
            return self._fernet.decrypt(sealed)
        except InvalidToken:
            raise VaultError(
                f"{self._key_file} is not the key that sealed these secrets; "
                "bring back the file that belongs to this home"
            ) from None


def open_vault(key_file: Path, *, may_create: bool) -> Vault:
    """Return the vault of a home; its key file is made once, readable by its owner only.

    `may_create` is False where something sealed exists already: a new key would not open it.
    Raises `VaultError`.
    """
    if not key_file.exists():
        if not may_create:
            raise VaultError(
                f"{key_file} is missing, and without it the catalog's secrets cannot be read; "
                "bring it back from the backup"
            )
        _create(key_file)
    try:
        _keep_private(key_file)
        key = key_file.read_bytes().strip()
        return Vault(key, key_file)
    except OSError as error:
        raise VaultError(f"{key_file}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise VaultError(f"{key_file} holds no key; bring it back from the backup") from error


def _create(key_file: Path) -> None:
    """Write a new key, whole or not at all; of two processes that try, the first wins."""
    draft = key_file.with_name(f"{key_file.name}.{secrets.token_hex(6)}")
    try:
        write_private(draft, Fernet.generate_key() + b"\n")
        os.link(draft, key_file)
        sync_folder(key_file.parent)
    except FileExistsError:
        pass
    except OSError as error:
        raise VaultError(f"{key_file}: cannot be made ({error.strerror})") from error
    finally:
        draft.unlink(missing_ok=True)


def _keep_private(key_file: Path) -> None:
    status = key_file.stat()
    if status.st_mode & 0o077 and status.st_uid == os.geteuid():
        key_file.chmod(0o600)  # a restored backup often opens it to everybody


def write_private(path: Path, data: bytes) -> None:
    """Write a new file that only its owner reads, durably. `FileExistsError` where it exists."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(fd)


def replace_private(path: Path, data: bytes) -> None:
    """Put a file in the place of another, whole and durably, readable by its owner only."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(6)}")
    try:
        write_private(draft, data)
        draft.replace(path)
        sync_folder(path.parent)
    finally:
        draft.unlink(missing_ok=True)
