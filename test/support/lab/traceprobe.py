"""Sends a UDP datagram whose TTL or hop limit is short, and prints whose ICMP error came back, and its type and code.

    traceprobe.py HOST PORT TTL
"""
import socket
import struct
import sys
import time

SECONDS = 5
RECVERR = {4: (socket.IPPROTO_IP, 11), 6: (socket.IPPROTO_IPV6, 25)}

host, port, ttl = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
family = 6 if ":" in host else 4
sock = socket.socket(socket.AF_INET6 if family == 6 else socket.AF_INET, socket.SOCK_DGRAM)
if family == 4:
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
else:
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, ttl)
sock.setsockopt(*RECVERR[family], 1)
sock.connect((host, port))
sock.send(b"trace")
until = time.monotonic() + SECONDS
while time.monotonic() < until:
    try:
        _, ancillary, _, _ = sock.recvmsg(512, 512, socket.MSG_ERRQUEUE)
    except BlockingIOError:
        time.sleep(0.01)
        continue
    data = ancillary[0][2]
    # struct sock_extended_err, and behind it the address of the sender of the error
    kind, code = struct.unpack_from("BB", data, 5)
    offender = socket.inet_ntop(socket.AF_INET, data[20:24]) if family == 4 else socket.inet_ntop(socket.AF_INET6, data[24:40])
    print(offender, kind, code)
    break
