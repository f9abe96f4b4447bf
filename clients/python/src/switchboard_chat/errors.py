"""What the calls of this library fail with: always one of these two."""

from __future__ import annotations

from typing import Literal

__all__ = ["PASSING", "RETRY", "ChatError", "Disconnected", "Refused"]

#: Codes of refusals after which the same may well succeed later.
PASSING = frozenset({"rate_limited", "unavailable", "shutting_down", "not_joined"})
#: Seconds after which it is tried again where the server does not say.
RETRY = 2.0


class ChatError(Exception):
    """What both errors are."""


class Refused(ChatError):  # noqa: N818 - it names what the server did
    """The server did not do what it was asked for. The connection stays, and nothing else is lost.

    `code` says why (docs/chat-protocol.md has the list), `field` names the field of the command that is at fault, and
    `retry_after` the seconds after which it may be tried again.
    """

    def __init__(self, code: str, message: str, field: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


_SENTENCES = {
    "offline": "not connected",
    "lost": "the connection was lost before the answer",
    "stopped": "stopped",
    "parked": "the server does not let this client in",
}


class Disconnected(ChatError):  # noqa: N818
    """There is no answer, since there is no connection.

    `code` is `offline` (nothing was sent), `lost` (whether it was done is not known), `stopped` (the client was
    stopped, or the room left) or `parked` (coming back is of no use before somebody does something; `__cause__` says
    why, where the server said so).
    """

    def __init__(self, code: Literal["offline", "lost", "stopped", "parked"], why: str = "") -> None:
        super().__init__(_SENTENCES[code] + (f": {why}" if why else ""))
        self.code = code
        self.why = why
