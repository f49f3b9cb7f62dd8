"""The host's side of the guest channel by hand: the raw floor of an exec.

The protocol is Sources/RoostGuestWire's: preamble, then frames of kind, length, epoch, stream.
"""

import os
import socket
import struct
import time

MAGIC = bytes([0xFF, 0xF7, 0xFE, 0xF6, 0xFD, 0xF5, 0xFC, 0xC1,
               0xFB, 0xC0, 0xFA, 0xF9, 0xF8, 0xB1, 0x9E, 0x87])
OPEN, MESSAGE, DATA, CREDIT, END, RESET, PING, PONG, EVENT = range(1, 10)
HOST, GUEST = 1, 2
VERSION = 2
EXITED = 2


class Broken(Exception):
    """The agent said what it should not, or nothing in time."""


def checksum(data):
    value = 0x811C9DC5
    for byte in data:
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def text(value):
    raw = value.encode()
    return struct.pack("<H", len(raw)) + raw


def preamble(nonce):
    body = struct.pack("<BHQIIHqI", HOST, VERSION, nonce, 65_536, 262_144, 64, time.time_ns(), 0)
    body += bytes(16) + struct.pack("<Q", 0) + text("bench")
    return MAGIC + struct.pack("<H", len(body)) + body + struct.pack("<I", checksum(body))


class RawHost:
    """One connection to an agent's socket."""

    def __init__(self, path, deadline_seconds):
        self.end = time.monotonic() + deadline_seconds
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.nonce = int.from_bytes(os.urandom(8), "little")
        self.epoch = self.nonce & 0xFFFFFFFF
        self.buffer = b""
        self.stream = 0
        # Sent before the guest runs: it lies in the socket until the port is opened.
        self.socket.sendall(preamble(self.nonce))

    def close(self):
        self.socket.close()

    def _more(self):
        left = self.end - time.monotonic()
        if left <= 0:
            raise Broken("the guest did not answer in time")
        self.socket.settimeout(left)
        try:
            data = self.socket.recv(65_536)
        except TimeoutError:
            raise Broken("the guest did not answer in time") from None
        if not data:
            raise Broken("the guest's channel was closed")
        self.buffer += data

    def await_hello(self):
        """Waits for the guest's preamble and for its event `ready`."""
        while True:
            at = self.buffer.find(MAGIC)
            if at >= 0 and len(self.buffer) >= at + 18:
                size = struct.unpack_from("<H", self.buffer, at + 16)[0]
                if len(self.buffer) >= at + 18 + size + 4:
                    body = self.buffer[at + 18:at + 18 + size]
                    self.buffer = self.buffer[at + 18 + size + 4:]
                    if body[0] == GUEST and struct.unpack_from("<Q", body, 3)[0] == self.nonce:
                        version = struct.unpack_from("<H", body, 1)[0]
                        if version != VERSION:
                            raise Broken(f"the agent speaks version {version}, this {VERSION}")
                        break
                    continue
            self._more()
        while True:
            kind, _, payload = self._frame()
            if kind == EVENT and payload[0] == 1:
                return

    def _frame(self):
        while True:
            if len(self.buffer) >= 13:
                kind, size, epoch, stream = struct.unpack_from("<BIII", self.buffer)
                if len(self.buffer) >= 13 + size:
                    payload = self.buffer[13:13 + size]
                    self.buffer = self.buffer[13 + size:]
                    if epoch == self.epoch:
                        return kind, stream, payload
                    continue
            self._more()

    def _send(self, kind, payload):
        head = struct.pack("<BIII", kind, len(payload), self.epoch, self.stream)
        self.socket.sendall(head + payload)

    def execute(self, *arguments, seconds=30):
        """Runs a command to the end of its stream; returns its exit code."""
        self.end = time.monotonic() + seconds
        self.stream += 1
        session = os.urandom(16)
        payload = struct.pack("<I", 262_144) + bytes(16) + b"\x01" + session
        payload += struct.pack("<H", len(arguments)) + b"".join(map(text, arguments))
        payload += struct.pack("<H", 0) + text("") + text("")
        payload += struct.pack("<QBBBQ", 0, 0, 0, 0, 0)
        self._send(OPEN, payload)
        code = None
        while True:
            kind, stream, answer = self._frame()
            if stream != self.stream:
                continue
            if kind == MESSAGE and answer[0] == EXITED:
                code = answer[2] if answer[1] == 0 else None
            elif kind == MESSAGE and answer[0] == 3:
                raise Broken(f"the guest refused: {answer[9:]!r}")
            elif kind in (END, RESET):
                return code
