"""Makes system calls on sockets, one at a time, as it is told.

Each line of stdin is a call, {"verb": ..., ...}; each line of stdout its outcome, {"result": ...} or {"errno": "ECONNREFUSED"}.
Sockets are named by their descriptors. An IPv4 address given to an IPv6 socket goes to the kernel as it is; "" is AF_UNSPEC.
"""
import ctypes
import errno
import json
import os
import signal
import socket
import struct
import sys

IPPROTO_MPTCP, IPPROTO_UDPLITE = 262, 136
IP_PKTINFO = 8
SO_COOKIE = 57
PR_SET_PDEATHSIG = 1
PATIENCE = struct.pack("@qq", 10, 0)  # a call that should not block ends with EAGAIN instead of never

libc = ctypes.CDLL(None, use_errno=True)
sockets = {}

KINDS = {
    "tcp": (socket.SOCK_STREAM, 0),
    "udp": (socket.SOCK_DGRAM, 0),
    "mptcp": (socket.SOCK_STREAM, IPPROTO_MPTCP),
    "udplite": (socket.SOCK_DGRAM, IPPROTO_UDPLITE),
    "ping": (socket.SOCK_DGRAM, socket.IPPROTO_ICMP),
    "ping6": (socket.SOCK_DGRAM, socket.IPPROTO_ICMPV6),
    "raw": (socket.SOCK_RAW, 253),
}


def sockaddr(address, port):
    if address == "":
        return struct.pack("=H14x", socket.AF_UNSPEC)
    if ":" in address:
        return struct.pack("=HHI16sI", socket.AF_INET6, socket.htons(port), 0, socket.inet_pton(socket.AF_INET6, address), 0)
    return struct.pack("=HH4s8x", socket.AF_INET, socket.htons(port), socket.inet_aton(address))


def checked(result):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def keep(made):
    sockets[made.fileno()] = made
    return made.fileno()


def open_(family, kind, bind=None, device=None, nonblocking=False):
    made = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, *KINDS[kind])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, PATIENCE)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, PATIENCE)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if device is not None:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
    if bind is not None:
        made.bind(tuple(bind))
    if nonblocking:
        os.set_blocking(made.fileno(), False)
    return keep(made)


def connect(fd, address, port=0):
    name = sockaddr(address, port)
    checked(libc.connect(fd, name, len(name)))


def churn(family, kind, address, port, times, bind=None):
    """Sockets that connect and are closed, one after the other."""
    for _ in range(times):
        fd = open_(family, kind, bind)
        connect(fd, address, port)
        sockets.pop(fd).close()


def send(fd, text="x"):
    return sockets[fd].send(text.encode())


def sendto(fd, address, port, text="x", fastopen=False):
    name, flags = sockaddr(address, port), socket.MSG_FASTOPEN if fastopen else 0
    return checked(libc.sendto(fd, text.encode(), len(text), flags, name, len(name)))


def sendfrom(fd, source, address, port, text="x"):
    """Says by ancillary data which address the datagram is to come from."""
    if ":" in source:
        level, option, info = socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, socket.inet_pton(socket.AF_INET6, source) + bytes(4)
    else:
        level, option, info = socket.IPPROTO_IP, IP_PKTINFO, struct.pack("=I4s4s", 0, socket.inet_aton(source), bytes(4))
    return sockets[fd].sendmsg([text.encode()], [(level, option, info)], 0, (address, port))


def receive(fd):
    data, name = sockets[fd].recvfrom(1 << 16)
    return {"text": data.decode(), "from": name[:2] if name else None}


def drain(fd, length):
    """That many bytes of a stream."""
    return len(sockets[fd].recv(length, socket.MSG_WAITALL))


def fork():
    """A process that has every socket too, and does nothing but end with this one."""
    pid = os.fork()
    if pid == 0:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        while True:
            signal.pause()
    return pid


def end(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def move(cgroup):
    with open(cgroup + "/cgroup.procs", "w") as file:
        file.write(str(os.getpid()))


verbs = {
    "open": open_,
    "connect": connect,
    "churn": churn,
    "send": send,
    "sendto": sendto,
    "sendfrom": sendfrom,
    "receive": receive,
    "drain": drain,
    "listen": lambda fd: sockets[fd].listen(1024),
    "accept": lambda fd: keep(sockets[fd].accept()[0]),
    "peer": lambda fd: sockets[fd].getpeername()[:2],
    "own": lambda fd: sockets[fd].getsockname()[:2],
    "cookie": lambda fd: str(struct.unpack("=Q", sockets[fd].getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8))[0]),
    "error": lambda fd: errno.errorcode.get(sockets[fd].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), "done"),
    "dup": lambda fd: keep(sockets[fd].dup()),
    "close": lambda fd: sockets.pop(fd).close(),
    "fork": fork,
    "end": end,
    "move": move,
}

for line in sys.stdin:
    call = json.loads(line)
    try:
        outcome = {"result": verbs[call.pop("verb")](**call)}
    except OSError as error:
        outcome = {"errno": errno.errorcode[error.errno]}
    print(json.dumps(outcome), flush=True)
