#!/usr/bin/env python3
"""Somebody who is connected while the samples of a page run: `person.py NAME ROOM`, until they are disconnected.

With texts, `person.py NAME ROOM TEXT...`, they say these, print what they are answered, and go.
"""

import contextlib
import json
import sys

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

name, room, *texts = sys.argv[1:]
with connect("ws://localhost:8080/ws", subprotocols=["chat.v1.json"]) as socket:
    socket.send(json.dumps({"type": "hello", "user": name}))
    socket.send(json.dumps({"type": "join", "room": room}))
    for number, text in enumerate(texts):
        socket.send(json.dumps({"type": "post", "room": room, "text": text, "id": number}))
    for number in range(len(texts)):
        while json.loads(answer := socket.recv()).get("id") != number:
            pass
        print(answer)
    if texts:
        sys.exit()
    with contextlib.suppress(ConnectionClosed):
        for _ in socket:
            pass
