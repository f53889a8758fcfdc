"""Twisted's framings, finger and ident, as peers of the conformance suite.

    twisted_framings.py serve                          listens, prints its ports in one line, ends with its input
    twisted_framings.py call NETSTRING INT32 FINGER IDENT   talks to servers on these ports of 127.0.0.1

Ports are always in this order. Exits with 0 if everything was as it should be, with 75 if there is no Twisted.
"""

import sys

try:
    from twisted.internet import defer, endpoints, protocol, reactor, stdio, task
    from twisted.protocols import basic, finger, ident
except ImportError:
    sys.exit(75)

FRAMES = [b"", b"a", b"hello world!", b"3:abc,", bytes(range(256)), b"x" * 99_999, b"end"]


class TextIdent:
    """Twisted's ident was written for text; here is its wire."""

    def sendLine(self, line):
        super().sendLine(line.encode())

    def lineReceived(self, line):
        super().lineReceived(line.decode())


class IdentServer(TextIdent, ident.IdentServer):
    def lookup(self, server, client):
        if server[1] == 6193:
            return "UNIX", "stjohns"
        raise ident.HiddenUser()


class IdentClient(TextIdent, ident.IdentClient):
    pass


class Netstrings(basic.NetstringReceiver):
    def stringReceived(self, string):
        self.sendString(string)


class Int32Strings(basic.Int32StringReceiver):
    def stringReceived(self, string):
        self.sendString(string)


class Calls:
    """Sends all frames, and expects them back."""

    def connectionMade(self):
        super().connectionMade()
        self.got = []
        self.done = defer.Deferred()
        for frame in FRAMES:
            self.sendString(frame)

    def stringReceived(self, string):
        self.got.append(string)
        if len(self.got) == len(FRAMES):
            self.transport.loseConnection()

    def connectionLost(self, reason):
        self.done.callback(self.got)


class NetstringCalls(Calls, basic.NetstringReceiver):
    pass


class Int32Calls(Calls, basic.Int32StringReceiver):
    pass


class Collect(protocol.Protocol):
    """Asks, and collects all that comes until the end."""

    def __init__(self, question):
        self.question, self.got, self.done = question, b"", defer.Deferred()

    def connectionMade(self):
        self.transport.write(self.question)

    def dataReceived(self, data):
        self.got += data

    def connectionLost(self, reason):
        self.done.callback(self.got)


def connect(port, made):
    return endpoints.connectProtocol(endpoints.TCP4ClientEndpoint(reactor, "127.0.0.1", port), made)


def equal(got, expected):
    if got != expected:
        raise AssertionError(f"got {got!r:.300}, expected {expected!r:.300}")


@defer.inlineCallbacks
def call(_reactor, *ports):
    netstrings, int32s, fingers, idents = map(int, ports)
    for port, calls in (netstrings, NetstringCalls), (int32s, Int32Calls):
        client = yield connect(port, calls())
        equal((yield client.done), FRAMES)
    for port, bad in (netstrings, b"1x:a,"), (netstrings, b"100000:"), (int32s, b"\0\x01\x86\xa0"):
        client = yield connect(port, Collect(bad))
        equal((yield client.done), b"")
    for question, answer in (
        (b"ron\r\n", b"Login: ron\r\nPlan: False\r\n"),
        (b"/W ron\r\n", b"Login: ron\r\nPlan: True\r\n"),
        (b"\r\n", b"Finger online user list denied\r\n"),
        (b"ron@elsewhere\r\n", b"Finger forwarding service denied\r\n"),
    ):
        client = yield connect(fingers, Collect(question))
        equal((yield client.done), answer)
    client = yield connect(idents, IdentClient())
    answers = [client.lookup(6193, 23), client.lookup(6195, 23), client.lookup(0, 23)]
    equal((yield answers[0]), ("USERID", "UNIX:stjohns"))
    for answer, error in (answers[1], ident.HiddenUser), (answers[2], ident.InvalidPort):
        try:
            yield answer
            raise AssertionError("no error")
        except error:
            pass


class UntilEnd(protocol.Protocol):
    def connectionLost(self, reason):
        reactor.stop()


def serve():
    ports = []
    for served in Netstrings, Int32Strings, finger.Finger, IdentServer:
        factory = protocol.Factory.forProtocol(served)
        ports.append(reactor.listenTCP(0, factory, interface="127.0.0.1").getHost().port)
    print(*ports, flush=True)
    stdio.StandardIO(UntilEnd())
    reactor.run()


if sys.argv[1] == "serve":
    serve()
else:
    task.react(call, sys.argv[2:])
