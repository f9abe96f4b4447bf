# A WebSocket client over TLS of Python's standard library alone: client.py PORT CERTIFICATE.
# Prints a line for each thing that it saw; an end without close_notify is an error of `ssl`.

import os
import socket
import ssl
import sys

port, certificate = int(sys.argv[1]), sys.argv[2]
context = ssl.create_default_context(cafile=certificate)


def connect():
    raw = socket.create_connection(("127.0.0.1", port), 10)
    return context.wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False)


def exactly(stream, count):
    octets = b""
    while len(octets) < count:
        more = stream.recv(count - len(octets))
        assert more, "the connection ended"
        octets += more
    return octets


def frame(opcode, payload):
    key = os.urandom(4)
    length = len(payload)
    if length < 126:
        header = bytes([0x80 | opcode, 0x80 | length])
    elif length < 1 << 16:
        header = bytes([0x80 | opcode, 0x80 | 126]) + length.to_bytes(2, "big")
    else:
        header = bytes([0x80 | opcode, 0x80 | 127]) + length.to_bytes(8, "big")
    return header + key + bytes(octet ^ key[at % 4] for at, octet in enumerate(payload))


def receive(stream):
    first, length = exactly(stream, 2)
    if length == 126:
        length = int.from_bytes(exactly(stream, 2), "big")
    elif length == 127:
        length = int.from_bytes(exactly(stream, 8), "big")
    return first & 15, exactly(stream, length)


with connect() as stream:
    print(stream.version())
    stream.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    answer = b""
    while more := stream.recv(4096):
        answer += more
    print(answer.split(b"\r\n")[0].decode())

with connect() as stream:
    stream.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += exactly(stream, 1)
    print(head.split(b"\r\n")[0].decode())
    for size in (0, 1, 125, 126, 20_000, 65_535, 65_536, 300_000):
        payload = os.urandom(size)
        stream.sendall(frame(2, payload))
        assert receive(stream) == (2, payload), f"{size} octets came back otherwise"
    # Many at once, and half of one before the rest.
    burst = b"".join(frame(1, b"%d" % at) for at in range(200))
    stream.sendall(burst[:1000])
    stream.sendall(burst[1000:])
    for at in range(200):
        assert receive(stream) == (1, b"%d" % at), at
    stream.sendall(frame(9, b"there?"))
    print(receive(stream) == (10, b"there?"))
    stream.sendall(frame(8, (1000).to_bytes(2, "big")))
    print(receive(stream) == (8, (1000).to_bytes(2, "big")))
    assert stream.recv(1) == b"", "something follows the Close frame"
    print("closed")
