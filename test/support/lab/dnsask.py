"""A client of DNS servers without a resolver: each socket is what the test says, and so is each address on it.

Reads commands as JSON, one a line, and prints what became of each:
  {"open": NAME, "type": "udp"|"tcp", "family": 4|6, "bind": [ADDRESS, PORT], "connect": [ADDRESS, PORT]}
      -> {"peer": [ADDRESS, PORT]}, null where it is not connected; bind and connect may be left out
  {"ask": NAME, "to": [[ADDRESS, PORT], ..]}  -> {"answers": [{"from": ADDRESS, "server": TEXT}, ..]}
      the text record of who.lab, one question to each; without "to", one to the peer
  {"peer": NAME}  -> {"peer": [ADDRESS, PORT]}
  {"close": NAME} -> {}
or {"error": NAME OF ERRNO}.
"""
import errno
import json
import socket
import sys

SECONDS = 8
TYPES = {"udp": socket.SOCK_DGRAM, "tcp": socket.SOCK_STREAM}
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
RECURSION_DESIRED = b"\x01\x00"
ONE_QUESTION = b"\x00\x01" + 3 * b"\x00\x00"
WHO_LAB_TXT_IN = b"\x03who\x03lab\x00" + b"\x00\x10" + b"\x00\x01"

sockets = {}
serial = 0


def question():
    global serial
    serial += 1
    return serial.to_bytes(2, "big") + RECURSION_DESIRED + ONE_QUESTION + WHO_LAB_TXT_IN


def server_of(answer):
    """The text is the last of the only record: what follows its length and reaches to the end."""
    for start in range(len(answer) - 1, 0, -1):
        if answer[start] == len(answer) - 1 - start:
            return answer[start + 1 :].decode()
    return ""


def opened(command):
    made = socket.socket(FAMILIES[command["family"]], TYPES[command["type"]])
    made.settimeout(SECONDS)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if "bind" in command:
        made.bind(tuple(command["bind"]))
    if "connect" in command:
        made.connect(tuple(command["connect"]))
    sockets[command["open"]] = made
    return {"peer": peer_of(made) if "connect" in command else None}


def peer_of(of):
    return list(of.getpeername()[:2])


def exactly(of, size):
    data = b""
    while len(data) < size:
        more = of.recv(size - len(data))
        if not more:
            raise ConnectionResetError(errno.ECONNRESET, "ended by the server")
        data += more
    return data


def asked_stream(of):
    sent = question()
    of.sendall(len(sent).to_bytes(2, "big") + sent)
    answer = exactly(of, int.from_bytes(exactly(of, 2), "big"))
    return [{"from": peer_of(of)[0], "server": server_of(answer)}]


def asked(of, to):
    if of.type == socket.SOCK_STREAM:
        return asked_stream(of)
    waiting = set()
    for address in to or [None]:
        sent = question()
        waiting.add(sent[:2])
        of.send(sent) if address is None else of.sendto(sent, tuple(address))
    answers = []
    while waiting:
        answer, source = of.recvfrom(4096)
        if answer[:2] in waiting:
            waiting.remove(answer[:2])
            answers.append({"from": source[0], "server": server_of(answer)})
    return answers


def carried_out(command):
    if "open" in command:
        return opened(command)
    if "ask" in command:
        return {"answers": asked(sockets[command["ask"]], command.get("to"))}
    if "peer" in command:
        return {"peer": peer_of(sockets[command["peer"]])}
    sockets.pop(command["close"]).close()
    return {}


for line in sys.stdin:
    try:
        result = carried_out(json.loads(line))
    except socket.timeout:
        result = {"error": "ETIMEDOUT"}
    except OSError as error:
        result = {"error": errno.errorcode[error.errno]}
    print(json.dumps(result), flush=True)
