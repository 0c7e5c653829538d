"""Clients of servers on loopback, of each family and protocol, told by their cookies (SO_COOKIE); for sockets to be ended
from without.

Prints the cookies as JSON, {name: decimal}; when a line comes, what each client's next receive and send give, {name: [..]}.
"""
import errno
import json
import socket
import struct
import sys

SO_COOKIE = 57

listening = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
PORT = listening.getsockname()[1]
waiting = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
waiting.bind(("::", PORT))


def client(kind, family, address, own_port=None):
    made = socket.socket(family, kind)
    if own_port is not None:
        made.bind((address, own_port))
    made.connect((address, PORT))
    made.setblocking(False)
    return made


def outcome(call):
    try:
        call()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"


clients = {
    "udp4": client(socket.SOCK_DGRAM, socket.AF_INET, "127.0.0.1"),
    "udp6": client(socket.SOCK_DGRAM, socket.AF_INET6, "::1"),
    "bound udp4": client(socket.SOCK_DGRAM, socket.AF_INET, "127.0.0.1", own_port=5353),
    "mapped": client(socket.SOCK_DGRAM, socket.AF_INET6, "::ffff:127.0.0.1"),
    "tcp4": client(socket.SOCK_STREAM, socket.AF_INET, "127.0.0.1"),
    "tcp6": client(socket.SOCK_STREAM, socket.AF_INET6, "::1"),
    "other udp4": client(socket.SOCK_DGRAM, socket.AF_INET, "127.0.0.1"),
    "other tcp4": client(socket.SOCK_STREAM, socket.AF_INET, "127.0.0.1"),
}


def cookie(of):
    return str(struct.unpack("=Q", of.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8))[0])


print(json.dumps({name: cookie(of) for name, of in clients.items()}), flush=True)
sys.stdin.readline()
tried = {name: [outcome(lambda: of.recv(1)), outcome(lambda: of.send(b"x"))] for name, of in clients.items()}
print(json.dumps(tried), flush=True)
