"""The small protocols over UDP, on plain sockets, as peers of the conformance suite.

    small_datagrams.py serve                                         answers, prints its ports in one line, ends with its input
    small_datagrams.py call ECHO DISCARD DAYTIME QOTD CHARGEN TIME   asks servers on these ports of 127.0.0.1

What serves: daytime, qotd and time, in this order; each passes over the first datagram, as if it had been lost. Exits with 0 if
everything was as it should be.
"""

import selectors
import socket
import struct
import sys
import time

FROM_1900_TO_1970 = 2_208_988_800


def opened():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(10)
    return sock


def ask(port, question):
    with opened() as sock:
        sock.sendto(question, ("127.0.0.1", port))
        answer, peer = sock.recvfrom(65_536)
        equal(peer, ("127.0.0.1", port))
        return answer


def equal(got, expected):
    if got != expected:
        raise AssertionError(f"got {got!r:.300}, expected {expected!r:.300}")


def call(echo, discard, daytime, qotd, chargen, clock):
    for length in 0, 1, 1_473, 65_507:
        said = bytes(n * 7 % 251 for n in range(length))
        equal(ask(echo, said), said)
    with opened() as sock:
        sock.settimeout(0.1)
        sock.sendto(b"anybody?", ("127.0.0.1", discard))
        try:
            raise AssertionError(f"discard answered {sock.recv(65_536)!r}")
        except TimeoutError:
            pass
    for question in b"", b"what is in it does not matter":
        before = int(time.time())
        told = ask(daytime, question).decode("ascii")
        (seconds,) = struct.unpack("!I", ask(clock, question))
        after = int(time.time())
        moment = time.strptime(told, "%A, %B %d, %Y %H:%M:%S-UTC\r\n")
        days = (time.mktime(moment[:8] + (0,)) - time.timezone, seconds - FROM_1900_TO_1970)
        if not all(before - 1 <= moment <= after + 1 for moment in days):
            raise AssertionError(f"{days} are not from {before} to {after}")
        equal(ask(qotd, question), b"Brevity is\r\nthe soul of wit.\r\n")
        for _ in range(100):
            text = ask(chargen, question)
            lines = text.split(b"\r\n")
            if len(text) > 512 or any(len(line) != 72 for line in lines[:-1]):
                raise AssertionError(f"not chargen's: {text!r}")


def serve():
    answers = {
        opened(): lambda: b"Monday, February 22, 1982 17:37:43-UTC\r\n",
        opened(): lambda: b"Brevity is\r\nthe soul of wit.\r\n",
        opened(): lambda: struct.pack("!I", int(time.time()) + FROM_1900_TO_1970),
    }
    asked = set()
    print(*(sock.getsockname()[1] for sock in answers), flush=True)
    with selectors.DefaultSelector() as selector:
        for source in [sys.stdin, *answers]:
            selector.register(source, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is sys.stdin:
                    return
                _, peer = key.fileobj.recvfrom(65_536)
                if key.fileobj in asked:
                    key.fileobj.sendto(answers[key.fileobj](), peer)
                asked.add(key.fileobj)


if sys.argv[1] == "serve":
    serve()
else:
    call(*map(int, sys.argv[2:]))
