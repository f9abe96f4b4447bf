"""A client for the chat of Switchboard, on asyncio. It speaks `chat.v1.json`."""

from .client import Client
from .connection import State
from .errors import ChatError, Disconnected, Refused
from .inbox import Overrun
from .outbox import Outbox, Post
from .room import Room
from .session import Event, Token
from .storage import FileStore, MemoryStore, Store
from .wire import Ack, Conversation, ListedRoom, Member, Message, OwnRoom, Page, Person, Unread

__all__ = [
    "Ack",
    "ChatError",
    "Client",
    "Conversation",
    "Disconnected",
    "Event",
    "FileStore",
    "ListedRoom",
    "Member",
    "MemoryStore",
    "Message",
    "Outbox",
    "Overrun",
    "OwnRoom",
    "Page",
    "Person",
    "Post",
    "Refused",
    "Room",
    "State",
    "Store",
    "Token",
    "Unread",
]
