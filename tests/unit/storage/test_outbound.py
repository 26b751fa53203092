"""Calls to users' addresses go where they were checked to go, and end."""

from __future__ import annotations

import asyncio
import datetime
import gzip
import io
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pim_platform.errors import AddressRefused, RemoteRefused, RemoteUnavailable
from pim_platform.storage.outbound import Answer, Caller, Policy, check_address, download
from tests.support.receivers import Received, Reply, receiver

# A supplier's server is at 127.0.0.2, which stands for a public address; 127.0.0.1 is what must not be reached.
POLICY = Policy(allow_http=True, private_networks=(ipaddress.ip_network("127.0.0.2/32"),))


def _call(url: str, policy: Policy = POLICY, **options: object) -> Answer:
    async def run() -> Answer:
        async with Caller(policy) as caller:
            return await caller.call("POST", url, **options)  # type: ignore[arg-type]

    return asyncio.run(run())


def _fetch(url: str, policy: Policy = POLICY, max_bytes: int = 1_000_000, **options: object) -> tuple[object, bytes]:
    into = io.BytesIO()
    made = download(url, into, policy, max_bytes=max_bytes, seconds=10, **options)  # type: ignore[arg-type]
    return made, into.getvalue()


def test_an_answer_tells_status_headers_and_the_first_bytes() -> None:
    with receiver(lambda _: Reply(418, b"x" * 5_000, {"X-Kind": "teapot"}), host="127.0.0.2") as server:
        answer = _call(server.url + "/hook?a=1", content=b"body", headers={"X-Mine": "1"}, keep=100)
    assert (answer.status, len(answer.body), answer.truncated) == (418, 100, True)
    assert answer.headers["x-kind"] == "teapot"
    sent = server.requests[0]
    assert (sent.method, sent.path, sent.body) == ("POST", "/hook?a=1", b"body")
    assert sent.headers["host"] == f"127.0.0.2:{server.port}"
    assert sent.headers["x-mine"] == "1"


def test_loopback_is_not_reached() -> None:
    with receiver() as server:
        for host in ("127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "[::ffff:127.0.0.1]", "0.0.0.0"):
            with pytest.raises(AddressRefused):
                _call(f"http://{host}:{server.port}/")
        assert server.requests == []


def test_a_call_follows_no_redirect() -> None:
    with (
        receiver() as inside,
        receiver(lambda _: Reply(302, headers={"Location": inside.url}), host="127.0.0.2") as server,
    ):
        assert _call(server.url).status == 302
        assert inside.requests == []


def test_a_download_does_not_follow_a_redirect_inside() -> None:
    with (
        receiver() as inside,
        receiver(lambda _: Reply(302, headers={"Location": inside.url}), host="127.0.0.2") as server,
    ):
        with pytest.raises(AddressRefused, match=r"127\.0\.0\.1"):
            _fetch(server.url)
        assert inside.requests == []


def test_a_download_follows_redirects_and_leaves_secrets_behind() -> None:
    def reply(request: Received) -> Reply:
        if request.path == "/start":
            return Reply(301, headers={"Location": "/next"})
        if request.path == "/next":
            return Reply(307, headers={"Location": f"http://127.0.0.2:{other.port}/files/feed.csv"})
        return Reply(body=b"sku\n1\n", headers={"ETag": '"1"', "Content-Type": "text/csv; charset=utf-8"})

    with receiver(reply, host="127.0.0.2") as other, receiver(reply, host="127.0.0.2") as first:
        made, content = _fetch(first.url + "/start", headers={"Authorization": "Bearer s", "If-None-Match": '"0"'})
        assert content == b"sku\n1\n"
        assert (made.file_name, made.etag, made.content_type, made.size) == ("start", '"1"', "text/csv", 6)  # type: ignore[attr-defined]
        assert [request.headers.get("authorization") for request in first.requests] == ["Bearer s", "Bearer s"]
        assert other.requests[0].headers.get("authorization") is None
        assert other.requests[0].headers["if-none-match"] == '"0"'


def test_endless_redirects_end() -> None:
    with receiver(lambda _: Reply(302, headers={"Location": "/again"}), host="127.0.0.2") as server:
        with pytest.raises(RemoteRefused, match="redirects more than"):
            _fetch(server.url)
        assert len(server.requests) == 6


@pytest.mark.parametrize("told", [True, False])
def test_a_download_has_a_limit_whether_its_length_is_told_or_not(told: bool) -> None:
    packed = gzip.compress(b"0" * 100_000)
    headers = {} if told else {"Content-Encoding": "gzip"}
    body = b"0" * 100_000 if told else packed  # packed it is far below the limit
    with (
        receiver(lambda _: Reply(body=body, headers=headers), host="127.0.0.2") as server,
        pytest.raises(RemoteRefused, match="more than 50000 bytes") as caught,
    ):
        _fetch(server.url, max_bytes=50_000)
    assert caught.value.code == "too_large"


def test_a_packed_answer_is_unpacked_and_an_unknown_packing_refused() -> None:
    with receiver(
        lambda request: Reply(
            body=gzip.compress(b"sku\n"), headers={"Content-Encoding": "gzip" if request.path == "/gzip" else "br"}
        ),
        host="127.0.0.2",
    ) as server:
        assert _fetch(server.url + "/gzip")[1] == b"sku\n"
        with pytest.raises(RemoteRefused, match="encoding 'br'"):
            _fetch(server.url + "/br")


@pytest.mark.parametrize(
    ("status", "expected"),
    [(404, RemoteRefused), (403, RemoteRefused), (503, RemoteUnavailable), (429, RemoteUnavailable)],
)
def test_a_refusal_is_told_from_an_outage(status: int, expected: type[Exception]) -> None:
    with receiver(lambda _: Reply(status), host="127.0.0.2") as server, pytest.raises(expected, match=str(status)):
        _fetch(server.url)


def test_unchanged_is_an_answer() -> None:
    with receiver(lambda _: Reply(304, b""), host="127.0.0.2") as server:
        made, content = _fetch(server.url)
    assert (made.status, content) == (304, b"")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("disposition", "expected"),
    [
        ('attachment; filename="../../etc/passwd"', "passwd"),
        ("attachment; filename*=UTF-8''Preisliste%20M%C3%A4rz.csv", "Preisliste März.csv"),
        ("attachment", "feed.xml"),
    ],
)
def test_the_file_is_called_as_the_server_says_without_folders(disposition: str, expected: str) -> None:
    with receiver(lambda _: Reply(headers={"Content-Disposition": disposition}), host="127.0.0.2") as server:
        made, _ = _fetch(server.url + "/a/feed.xml?x=1")
    assert made.file_name == expected  # type: ignore[attr-defined]


def test_progress_may_stop_a_download() -> None:
    def stop(size: int) -> None:
        raise KeyError(size)

    with receiver(host="127.0.0.2") as server, pytest.raises(KeyError):
        _fetch(server.url, progress=stop)


def test_nobody_listening_is_an_outage_that_names_the_address() -> None:
    with receiver(host="127.0.0.2") as server:
        pass
    with pytest.raises(RemoteUnavailable, match=rf"http://127\.0\.0\.2:{server.port}/x' cannot be reached"):
        _call(server.url + "/x?token=secret")


def test_a_server_that_trickles_ends_at_the_deadline() -> None:
    stop = threading.Event()
    with socket.create_server(("127.0.0.2", 0)) as listener:

        def trickle() -> None:
            connection, _ = listener.accept()
            with connection:
                try:
                    connection.sendall(b"HTTP/1.1 200 OK\r\n")
                    while not stop.wait(0.05):
                        connection.sendall(b"X-A: b\r\n")
                except OSError:
                    return  # the caller hung up, as it should

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            with pytest.raises(RemoteUnavailable, match=r"within 0\.5 s"):
                _call(f"http://127.0.0.2:{listener.getsockname()[1]}/", seconds=0.5)
        finally:
            stop.set()
            thread.join()


def test_cookies_of_a_receiver_are_not_kept() -> None:
    async def twice(url: str) -> None:
        async with Caller(POLICY) as caller:
            await caller.call("POST", url)
            await caller.call("POST", url)

    with receiver(lambda _: Reply(headers={"Set-Cookie": "a=1; Path=/"}), host="127.0.0.2") as server:
        asyncio.run(twice(server.url))
        assert len(server.requests) == 2
        assert all("cookie" not in request.headers for request in server.requests)


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as proxy, receiver(host="127.0.0.2") as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert _call(server.url).status == 200
        assert proxy.requests == []


def _answers(*addresses: str) -> Callable[..., object]:
    """A name server that says something else each time."""
    left = list(addresses)

    def resolve(_host: str, port: int, **_kind: object) -> object:
        address = left.pop(0) if len(left) > 1 else left[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (part, port)) for part in address.split("+")]

    return resolve


def test_a_name_that_changes_its_address_does_not_move_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver(host="127.0.0.2") as server, receiver(port=server.port) as inside:
        monkeypatch.setattr("pim_platform.storage.outbound.socket.getaddrinfo", _answers("127.0.0.2", "127.0.0.1"))

        async def run() -> None:
            async with Caller(POLICY) as caller:
                for _ in range(3):
                    await caller.call("POST", f"http://feeds.example:{server.port}/")

        asyncio.run(run())
        assert [request.headers["host"] for request in server.requests] == [f"feeds.example:{server.port}"] * 3
        assert inside.requests == []
        with pytest.raises(AddressRefused):  # a new pool asks anew, and is told the other address
            _call(f"http://feeds.example:{server.port}/")
        assert inside.requests == []


def test_a_name_with_one_private_address_among_others_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver(host="127.0.0.2") as server:
        monkeypatch.setattr("pim_platform.storage.outbound.socket.getaddrinfo", _answers("127.0.0.2+127.0.0.1"))
        with pytest.raises(AddressRefused):
            _call(f"http://feeds.example:{server.port}/")
        assert server.requests == []


def test_the_next_address_is_tried_where_one_takes_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    both = Policy(allow_http=True, private_networks=(ipaddress.ip_network("127.0.0.2/31"),))
    with receiver(host="127.0.0.2") as server:
        monkeypatch.setattr("pim_platform.storage.outbound.socket.getaddrinfo", _answers("127.0.0.3+127.0.0.2"))
        assert _call(f"http://feeds.example:{server.port}/", both).status == 200


def test_a_name_that_has_no_address_yet_passes_the_early_check_only() -> None:
    check_address("https://nobody.invalid/hook", POLICY)
    with pytest.raises(RemoteUnavailable, match=r"nobody\.invalid"):
        _call("https://nobody.invalid/hook")
    with pytest.raises(AddressRefused):
        check_address("https://127.0.0.1/hook", POLICY)


def _certificate(folder: Path, name: str) -> Path:
    """A key and a self-signed certificate for a name, in one PEM file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


def test_the_certificate_is_that_of_the_name_not_of_the_address(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pem = _certificate(tmp_path, "feeds.example")
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(pem)
    asked: list[str | None] = []
    server_side.sni_callback = lambda _socket, name, _context: asked.append(name)
    monkeypatch.setattr("pim_platform.storage.outbound.socket.getaddrinfo", _answers("127.0.0.2"))
    trusting = Policy(private_networks=POLICY.private_networks, ca_file=pem)
    with receiver(host="127.0.0.2", tls=server_side) as server:
        assert _call(f"https://feeds.example:{server.port}/", trusting).status == 200
        assert asked == ["feeds.example"]
        with pytest.raises(RemoteUnavailable, match="certificate is not trusted"):
            _call(f"https://other.example:{server.port}/", trusting)
        with pytest.raises(RemoteUnavailable, match="certificate is not trusted"):
            _call(f"https://feeds.example:{server.port}/")
        assert len(server.requests) == 1
