"""Where a client keeps what must survive its process."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any, Protocol

__all__ = ["FileStore", "MemoryStore", "Store"]


class Store(Protocol):
    """A store of texts. It may forget; it never raises."""

    def read(self, key: str) -> str | None:
        """What was written last under the key."""

    def write(self, key: str, value: str) -> None:
        """Keeps a text under the key."""


class MemoryStore:
    """A store that ends with the process."""

    def __init__(self) -> None:
        self._kept: dict[str, str] = {}

    def read(self, key: str) -> str | None:
        return self._kept.get(key)

    def write(self, key: str, value: str) -> None:
        self._kept[key] = value


class FileStore:
    """A store in one JSON file, replaced at each write. A file that cannot be read or written forgets."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._kept: dict[str, str] = {}
        with contextlib.suppress(OSError, ValueError):
            kept: Any = json.loads(self._path.read_text(encoding="utf-8"))
            if isinstance(kept, dict):
                self._kept = {key: value for key, value in kept.items() if isinstance(value, str)}

    def read(self, key: str) -> str | None:
        return self._kept.get(key)

    def write(self, key: str, value: str) -> None:
        self._kept[key] = value
        new = self._path.with_name(f"{self._path.name}.new")
        with contextlib.suppress(OSError):
            # What people wrote is nobody else's business.
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                json.dump(self._kept, file)
            new.replace(self._path)
