"""Sends IP packets as they are given, in the order they are given: what no socket of Node can do.

    rawip.py [--listen PORT] [--count N] [--patient] < hexadecimal packets, one a line

With --listen, takes a UDP port of both families first, and prints what N datagrams to it hold, in hexadecimal; --patient waits for
them however long it takes.
"""
import argparse
import socket
import sys

SECONDS = 8

parser = argparse.ArgumentParser()
parser.add_argument("--listen", type=int)
parser.add_argument("--count", type=int, default=1)
parser.add_argument("--patient", action="store_true")
options = parser.parse_args()

listener = None
if options.listen is not None:
    listener = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    listener.settimeout(None if options.patient else SECONDS)
    listener.bind(("::", options.listen))

# IPPROTO_RAW: the header is in the packet, and the kernel takes it as it is.
sockets = {
    4: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW),
    6: socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW),
}
for line in sys.stdin:
    packet = bytes.fromhex(line.strip())
    version = packet[0] >> 4
    if version == 4:
        destination = (socket.inet_ntop(socket.AF_INET, packet[16:20]), 0)
    else:
        destination = (socket.inet_ntop(socket.AF_INET6, packet[24:40]), 0, 0, 0)
    sockets[version].sendto(packet, destination)

try:
    for _ in range(options.count if listener else 0):
        print(listener.recv(65536).hex(), flush=True)
except socket.timeout:
    print("nothing came", file=sys.stderr)
