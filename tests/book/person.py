#!/usr/bin/env python3
"""Somebody who is connected while the samples of a page run: `person.py NAME ROOM`, until they are disconnected."""

import contextlib
import json
import sys

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

name, room = sys.argv[1:]
with connect("ws://localhost:8080/ws", subprotocols=["chat.v1.json"]) as socket:
    socket.send(json.dumps({"type": "hello", "user": name}))
    socket.send(json.dumps({"type": "join", "room": room}))
    with contextlib.suppress(ConnectionClosed):
        for _ in socket:
            pass
