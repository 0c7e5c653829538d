"""TCP over several paths: the connection is the kernel's own socket, and what a program has is one above it.

    mptcp.py serve PORT             answers each connection with a line, for ever
    mptcp.py ask ADDRESS PORT       prints {"line": TEXT, "peer": ADDRESS, "multipath": whether both ends speak it}
"""
import json
import socket
import sys

IPPROTO_MPTCP = 262
SOL_MPTCP, MPTCP_INFO, INFO_BYTES = 284, 1, 256


def multipath(of):
    """There is nothing to be told of a connection that has become one of TCP."""
    try:
        of.getsockopt(SOL_MPTCP, MPTCP_INFO, INFO_BYTES)
    except OSError:
        return False
    return True


if sys.argv[1] == "serve":
    listening = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, IPPROTO_MPTCP)
    listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listening.bind(("::", int(sys.argv[2])))
    listening.listen()
    while True:
        with listening.accept()[0] as accepted:
            accepted.sendall(b"served\n")
else:
    family = socket.AF_INET6 if ":" in sys.argv[2] else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM, IPPROTO_MPTCP) as asking:
        asking.settimeout(8)
        asking.connect((sys.argv[2], int(sys.argv[3])))
        line = asking.makefile().readline().strip()
        print(json.dumps({"line": line, "peer": asking.getpeername()[0], "multipath": multipath(asking)}))
