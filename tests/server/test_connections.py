"""Laws of connections: names and pages of others are refused, and nobody holds a server up by being slow or large."""

import asyncio
import contextlib
import json
import socket
import threading

import pytest
import uvicorn

from noria.core.errors import Invalid
from noria.server.connections import Limits, limited
from noria.server.guard import Guard, Hosts, names_in
from noria.server.listening import listen

LIMITS = Limits(most_connections=6, read_seconds=0.4, most_header_bytes=4096)


async def echo(scope, receive, send):
    """Answer with what was asked, once the body is there."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message.get("body", b"")
        more = message.get("more_body", False)
    told = json.dumps({"path": scope["path"], "body": len(body)}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(told)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": told})


class Server:
    """An app that is served on a free port by a thread, under limits."""

    def __init__(self, app, limits=LIMITS):
        config = uvicorn.Config(
            app, http=limited(limits), ws="none", log_level="critical", lifespan="off", proxy_headers=False
        )
        self.server = uvicorn.Server(config)
        self.listening = listen("127.0.0.1", 0, option="--port")
        self.port = self.listening.getsockname()[1]
        self.thread = threading.Thread(target=asyncio.run, args=(self.server.serve(sockets=[self.listening]),))
        self.thread.start()

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def send(self, *parts):
        """Send parts over a connection of its own; return status and body."""
        with self.connect() as link:
            for part in parts:
                link.sendall(part)
            return answer_of(link)

    def close(self):
        self.server.should_exit = True
        self.thread.join()


def answer_of(link):
    whole = b""
    with contextlib.suppress(ConnectionResetError):
        while part := link.recv(1 << 16):
            whole += part
            head, found, body = whole.partition(b"\r\n\r\n")
            length = next(
                (int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"), 0
            )
            if found and len(body) >= length:
                break
    head, _, body = whole.partition(b"\r\n\r\n")
    return (int(head.split()[1]) if head else None), body


@pytest.fixture(scope="module")
def server():
    made = Server(Guard(echo, hosts=["noria.example.com", "*.svc.local"], most_bytes=10_000))
    yield made
    made.close()


def request(*headers, method="GET", target="/x", host="127.0.0.1", body=b""):
    lines = [f"{method} {target} HTTP/1.1", *([] if host is None else [f"Host: {host}"]), *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


OURS = [
    "127.0.0.1", "127.0.0.1:7879", "localhost", "LOCALHOST:80", "localhost.", "[::1]", "[::1]:7879", "127.0.0.2",
    "[0:0:0:0:0:0:0:1]:1", "[::ffff:127.0.0.1]", "noria.example.com", "NORIA.Example.com.:443", "gateway.svc.local",
]  # fmt: skip
OTHERS = [
    None, "", "evil.example", "evil.example:7879", "127.0.0.1.nip.io", "localhost.evil.example", "evil-svc.local",
    "svc.local", "127.0.0.1@evil.example", "evil.example@127.0.0.1", "127.0.0.1:80:80", "[::1", "[::1]x", "10.0.0.9",
    "[fe80::1]", "0.0.0.0", "localhost/", "local host", "127.0.0.1, evil.example", "2130706433", "localhost:8a",
]  # fmt: skip


@pytest.mark.parametrize("host", OURS)
def test_our_names_are_answered(server, host):
    assert server.send(request(host=host))[0] == 200


@pytest.mark.parametrize("host", OTHERS)
def test_other_names_are_refused_whatever_address_they_point_at(server, host):
    status, body = server.send(request(host=host))

    assert status in (400, 421)
    assert status == 400 or json.loads(body)["code"] == "misdirected"


def test_two_hosts_are_none_and_an_absolute_target_is_the_host(server):
    assert server.send(request("Host: evil.example"))[0] in (400, 421)
    assert server.send(request(target="http://evil.example/x"))[0] == 421
    assert server.send(request(target="http://localhost:80/x", host="evil.example"))[0] == 200


def test_the_address_that_a_request_came_in_on_is_ours():
    hosts = Hosts()

    assert hosts.has(b"10.0.0.9:7879", "10.0.0.9")
    assert hosts.has(b"[fd00::5]:7879", "fd00::5")
    assert not hosts.has(b"10.0.0.8", "10.0.0.9")
    assert not hosts.has(b"evil.example", "10.0.0.9")


@pytest.mark.parametrize("name", ["*", "*.", "a b", "http://a", "a:80", "a*.b", "*.*.b", "."])
def test_a_name_that_is_none_is_refused_in_the_settings(name):
    with pytest.raises(Invalid, match="no host's name"):
        Hosts(names_in(name))


FOREIGN = [
    "Origin: http://evil.example", "Origin: null", "Origin: http://127.0.0.1:3000", "Origin: 127.0.0.1",
    "Origin: http://127.0.0.1.evil.example", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Origin:",
]  # fmt: skip


@pytest.mark.parametrize("header", FOREIGN)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_another_sites_page_cannot_act(server, method, header):
    status, body = server.send(request(header, "Content-Type: text/plain", method=method, body=b"{}"))

    assert (status, json.loads(body)["code"]) == (403, "cross-site")


def test_our_own_page_and_a_program_act(server):
    assert server.send(request("Origin: http://127.0.0.1", "Sec-Fetch-Site: same-origin", method="POST"))[0] == 200
    assert server.send(request("Origin: https://LOCALHOST:7878", method="POST", host="localhost:7878"))[0] == 200
    assert server.send(request(method="POST", body=b"x"))[0] == 200
    assert server.send(request("Origin: http://evil.example"))[0] == 200  # it reads nothing: no header lets it


def test_headers_and_bodies_that_are_too_large_are_refused(server):
    assert server.send(request("X: " + "y" * 5_000))[0] == 431
    assert server.send(request(target="/" + "y" * 5_000))[0] == 431
    assert server.send(request(*(f"X-{n}: y" for n in range(250))))[0] == 431
    assert server.send(request("Content-Length: 10001", method="POST"))[0] == 413
    assert server.send(request("Content-Length: " + "9" * 30, method="POST"))[0] in (400, 413)
    chunks = b"1000\r\n" + b"x" * 0x1000 + b"\r\n"
    assert server.send(request("Transfer-Encoding: chunked", method="POST"), chunks, chunks, chunks)[0] == 413


def test_headers_that_never_end_are_refused_before_they_are_all_there(server):
    with server.connect() as link:
        link.sendall(b"GET /x HTTP/1.1\r\nX: ")
        with contextlib.suppress(ConnectionError):
            for _ in range(1000):
                link.sendall(b"y" * 4096)
        status, _ = answer_of(link)

    assert status in (431, None)  # None: it was reset while we went on sending


@pytest.mark.parametrize(
    "begun",
    [b"", b"\r\n", b"POST /x HTTP/1.1\r\nHost: 127", request("Content-Length: 9", method="POST") + b"half"],
    ids=["nothing", "a line's end", "headers", "body"],
)
def test_a_request_that_does_not_come_is_not_waited_for_for_ever(server, begun):
    status, body = server.send(begun)

    assert (status, json.loads(body)["code"]) == (408, "too-slow")


def test_a_request_that_comes_in_drops_has_no_more_time_than_others(server):
    with server.connect() as link:
        link.sendall(b"GET /x HTTP/1.1\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(400):
                link.sendall(b"X: y\r\n")
                threading.Event().wait(0.005)
                if server.thread.is_alive() and link.fileno() < 0:
                    break
        status, _ = answer_of(link)

    assert status in (408, None)


def test_a_connection_serves_one_request_after_another_and_may_rest_between(server):
    with server.connect() as link:
        for _ in range(3):
            link.sendall(request(method="POST", body=b"x" * 10))
            assert answer_of(link)[0] == 200
            threading.Event().wait(0.3)


def test_more_connections_than_are_held_are_told_so_and_the_others_go_on(server):
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(server.connect()) for _ in range(LIMITS.most_connections)]
        for link in held:
            link.sendall(request())
            assert answer_of(link)[0] == 200
        status, body = server.send(b"")

        assert (status, json.loads(body)["code"]) == (503, "busy")
        held[0].sendall(request())
        assert answer_of(held[0])[0] == 200


HOSTILE = [
    b"GET * HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"CONNECT evil:80 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"\0\0\0\0\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"GET /%00 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /%ff%fe HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"GET http:// HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n", b"GET / HTTP/9.9\r\nHost: 127.0.0.1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
]  # fmt: skip


@pytest.mark.parametrize("payload", HOSTILE)
def test_what_is_no_request_is_refused_and_the_server_goes_on(server, payload):
    status, _ = server.send(payload)

    assert status is None or status < 500
    assert server.send(request())[0] == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "0"])
def test_nothing_listens_beyond_this_machine_unless_it_is_said_to(host):
    with contextlib.suppress(OSError):
        with pytest.raises(Invalid, match="can be reached from other machines") as caught:
            listen(host, 0, option="--port")
        assert "--insecure" in caught.value.hint
        listen(host, 0, option="--port", insecure=True).close()


def test_loopback_by_any_name_is_listened_on():
    for host in ("127.0.0.1", "localhost", "127.0.0.2", "127.1"):
        listen(host, 0, option="--port").close()
