"""A TCP of its own, by raw sockets, as sandboxes and emulated machines bring along: one connection to a server that greets with a line
and echoes.

    rawtcp.py SOURCE SOURCE-PORT DESTINATION PORT

Prints {"greeting": TEXT, "echo": TEXT}. The host's own TCP knows nothing of the connection: its resets have to be filtered.
"""
import ipaddress
import json
import select
import socket
import struct
import sys
import time

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
WINDOW = 65535
AGAIN_S = 1
GIVE_UP_S = 15

SOURCE, DESTINATION = ipaddress.ip_address(sys.argv[1]), ipaddress.ip_address(sys.argv[3])
SPORT, DPORT = int(sys.argv[2]), int(sys.argv[4])
FAMILY = socket.AF_INET if DESTINATION.version == 4 else socket.AF_INET6

raw = socket.socket(FAMILY, socket.SOCK_RAW, socket.IPPROTO_TCP)
raw.bind((str(SOURCE), 0))


def checksum(segment):
    lengths = "!BBH" if DESTINATION.version == 4 else "!HHI"
    fields = (0, socket.IPPROTO_TCP, len(segment)) if DESTINATION.version == 4 else (0, len(segment), socket.IPPROTO_TCP)
    data = SOURCE.packed + DESTINATION.packed + struct.pack(lengths, *fields) + segment
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def send(flags, seq, ack, data=b""):
    def head(value):
        return struct.pack("!HHIIBBHHH", SPORT, DPORT, seq, ack, 5 << 4, flags, WINDOW, value, 0)

    raw.sendto(head(checksum(head(0) + data)) + data, (str(DESTINATION), 0))


def received():
    """Of the connection, or None when nothing came for a while: flags, seq, ack and data."""
    while select.select([raw], [], [], AGAIN_S)[0]:
        packet, source = raw.recvfrom(65536)
        if DESTINATION.version == 4:
            packet = packet[(packet[0] & 15) * 4 :]
        sport, dport, seq, ack, offset, flags = struct.unpack("!HHIIBB", packet[:14])
        if ipaddress.ip_address(source[0]) == DESTINATION and (sport, dport) == (DPORT, SPORT):
            return flags, seq, ack, packet[(offset >> 4) * 4 :]
    return None


def awaited(again, test):
    """What passes the test; `again` is said first, and whenever nothing comes."""
    until = time.monotonic() + GIVE_UP_S
    again()
    while time.monotonic() < until:
        got = received()
        if got is None:
            again()
        elif got[0] & RST:
            sys.exit("reset")
        elif test(got):
            return got
    sys.exit("nothing came")


def line(seq, ack, say=b""):
    """Lets the server speak until a line is whole; what it says must come in order. Answers the line, and where it ends."""
    text = b""
    while not text.endswith(b"\n"):
        _, _, _, data = awaited(
            lambda: send(ACK | (PSH if say else 0), seq, ack, say), lambda got: got[1] == ack and len(got[3]) > 0
        )
        text += data
        ack += len(data)
    return text.decode().strip(), ack


first = 1000
_, theirs, _, _ = awaited(lambda: send(SYN, first, 0), lambda got: got[0] & (SYN | ACK) == SYN | ACK)
greeting, at = line(first + 1, theirs + 1)
echo, at = line(first + 1, at, b"said by hand\n")
send(RST | ACK, first + 1 + len(b"said by hand\n"), at)
print(json.dumps({"greeting": greeting, "echo": echo}))
