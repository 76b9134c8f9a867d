"""What operators' code says with `log()`: kept within bounds, and told with the answer."""

from __future__ import annotations

LINES_MAX = 25
BYTES_MAX = 4096
CUT = "… (more was logged; at most 25 lines and 4 KB of an answer are kept)"


class Notes:
    """The lines of one answer."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._room = BYTES_MAX
        self._is_full = False

    def add(self, *values: object) -> None:
        """Keep a line, as `print` would write it. What is past the bounds is not kept."""
        if self._is_full:
            return
        line = " ".join(_text(value)[:BYTES_MAX] for value in values)
        size = len(line.encode("utf-8", "replace"))
        if size > self._room or len(self._lines) >= LINES_MAX:
            self._is_full = True
            self._lines.append(CUT)
            return
        self._room -= size
        self._lines.append(line.encode("utf-8", "replace").decode())

    def write(self, text: str) -> int:
        """Be a file for `print`."""
        if text.strip():
            self.add(text.rstrip("\n"))
        return len(text)

    def flush(self) -> None:
        """Be a file for `print`."""

    def take(self) -> tuple[str, ...]:
        """Return the lines so far and begin anew."""
        lines = tuple(self._lines)
        self._lines, self._room, self._is_full = [], BYTES_MAX, False
        return lines


def _text(value: object) -> str:
    return value if isinstance(value, str) else str(value)
