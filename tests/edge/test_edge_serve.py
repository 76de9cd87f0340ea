"""`mmdense serve`: its files, its headers, what it refuses, how it starts and ends."""

from __future__ import annotations

import gzip
import http.client
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from mmdense_edge.cli import serve_command
from mmdense_edge.cli.main import parser
from mmdense_edge.errors import MMDenseError, UsageError
from mmdense_edge.serve import site as web_site
from mmdense_edge.serve.server import HEADERS, Server, tls_context

SECRET = b"nobody shall read this"


@contextmanager
def running(server: Server) -> Iterator[Server]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    with server:
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small page, with a secret beside it and links to the secret inside."""
    root = tmp_path_factory.mktemp("site")
    (root / "secret.txt").write_bytes(SECRET)
    (root / "outside").mkdir()
    (root / "outside" / "secret.js").write_bytes(SECRET)
    web, models = root / "web", root / "models"
    (web / "assets").mkdir(parents=True)
    models.mkdir()
    (web / "index.html").write_text("<!doctype html><title>page</title>", "utf-8")
    (web / "assets" / "app-1.js").write_text("let a = 1;" * 100, "utf-8")
    (web / "big.wasm.gz").write_bytes(gzip.compress(b"\0asm" * 1000))
    (web / ".hidden.js").write_bytes(SECRET)
    (web / "notes.py").write_bytes(SECRET)
    (web / "link.txt").symlink_to(root / "secret.txt")
    (web / "folder").symlink_to(root / "outside")
    (models / "small.tflite").write_bytes(b"weights")
    (models / "README.md").write_bytes(SECRET)
    return root


@pytest.fixture(scope="module")
def server(site: Path) -> Iterator[Server]:
    with running(Server("127.0.0.1", 0, web_site.load(site / "web", site / "models"))) as started:
        yield started


Ask = Callable[..., http.client.HTTPResponse]


@pytest.fixture
def ask(server: Server) -> Iterator[Ask]:
    """Makes a request; the answer has its body as `body`."""
    connections = []

    def request(
        path: str, method: str = "GET", body: bytes | None = None, **headers: str
    ) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(*server.server_address)
        connections.append(connection)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        answer.body = answer.read()  # type: ignore[attr-defined]
        return answer

    yield request
    for connection in connections:
        connection.close()


def raw(server: Server, request: bytes) -> bytes:
    """Sends bytes as they are and returns all that comes back."""
    with socket.create_connection(server.server_address) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize(
    ("path", "content_type", "body"),
    [
        ("/", "text/html; charset=utf-8", b"<!doctype html><title>page</title>"),
        (
            "/index.html?source=pwa",
            "text/html; charset=utf-8",
            b"<!doctype html><title>page</title>",
        ),
        ("/assets/app-1.js", "text/javascript; charset=utf-8", b"let a = 1;" * 100),
        ("/%61ssets/app-1.js", "text/javascript; charset=utf-8", b"let a = 1;" * 100),
        ("/big.wasm", "application/wasm", b"\0asm" * 1000),
        ("/models/small.tflite?v=1", "application/octet-stream", b"weights"),
    ],
)
def test_files_come_with_their_type_and_the_headers_that_threads_need(
    ask, path, content_type, body
):
    answer = ask(path)
    assert (answer.status, answer.headers["Content-Type"], answer.body) == (200, content_type, body)
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "mmdense" in answer.headers["Server"]
    assert "Python" not in answer.headers["Server"]


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        ("gzip", True),
        ("br, gzip;q=0.5", True),
        ("*", True),
        ("gzip;q=0, *", False),
        ("gzip;q=none", False),
        ("br", False),
        ("", False),
    ],
)
def test_compressed_files_go_to_those_who_take_them(ask, accepted, packed):
    for path, expected in (
        ("/big.wasm", b"\0asm" * 1000),
        ("/assets/app-1.js", b"let a = 1;" * 100),
    ):
        answer = ask(path, Accept_Encoding=accepted)
        assert (answer.headers["Content-Encoding"] == "gzip") is packed
        assert answer.headers["Vary"] == "Accept-Encoding"
        assert int(answer.headers["Content-Length"]) == len(answer.body)
        assert (gzip.decompress(answer.body) if packed else answer.body) == expected


TRAVERSALS = [
    "/../secret.txt",
    "/assets/../../secret.txt",
    "/..%2fsecret.txt",
    "/%2e%2e/secret.txt",
    "/%2e%2e%2fsecret.txt",
    "/%252e%252e%252fsecret.txt",
    "/..%5csecret.txt",
    "/..\\secret.txt",
    "/....//secret.txt",
    "/.%00./secret.txt",
    "/index.html%00.txt",
    "/%c0%ae%c0%ae/secret.txt",
    "//secret.txt",
    "//etc/passwd",
    "/etc/passwd",
    "/models/../../secret.txt",
    "/models/../secret.txt",
    "file:///etc/passwd",
    "http://127.0.0.1/../secret.txt",
    "secret.txt",
    "*",
]
HIDDEN = [
    "/link.txt",
    "/folder/secret.js",
    "/.hidden.js",
    "/notes.py",
    "/big.wasm.gz",
    "/assets/",
    "/assets",
    "/models/README.md",
    "/models/",
    "/index.html/",
    "/INDEX.HTML",
    "/nothing",
]


@pytest.mark.parametrize("path", TRAVERSALS + HIDDEN)
def test_nothing_outside_and_nothing_hidden_is_served(server, path):
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    answer = raw(server, request)
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert SECRET not in answer
    assert b"root:" not in answer


def test_the_traversals_are_real_for_a_server_that_joins_paths(site):
    assert (site / "web" / "../secret.txt").read_bytes() == SECRET
    assert (site / "web" / "link.txt").read_bytes() == SECRET
    assert (site / "web" / "folder" / "secret.js").read_bytes() == SECRET


def test_a_file_that_becomes_a_link_later_is_not_followed(ask, site):
    path = site / "web" / "assets" / "app-1.js"
    text = path.read_text("utf-8")
    path.unlink()
    path.symlink_to(site / "secret.txt")
    try:
        assert ask("/assets/app-1.js").body == text.encode()
    finally:
        path.unlink()
        path.write_text(text, "utf-8")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_refused(ask, method):
    answer = ask("/index.html", method, b"body")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n", b"405"),
        (b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n", b"501"),
        (b"get / HTTP/1.1\r\nHost: x\r\n\r\n", b"501"),
        (b"<script> / HTTP/1.1\r\nHost: x\r\n\r\n", b"501"),
        (b"GET / HTTP/9.9\r\n\r\n", b"505"),
        (b"GET / HTTP/x\r\n\r\n", b"400"),
        (b"GET / / HTTP/1.1 extra\r\n\r\n", b"400"),
        (b"\0\1\2\3\r\n\r\n", b"400"),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\n" + b"X: 1\r\n" * 200 + b"\r\n", b"431"),
        (b"GET /" + b"%2e%2e/" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"404"),
    ],
)
def test_odd_requests_get_a_plain_line(server, request_, status):
    head, _, body = raw(server, request_).partition(b"\r\n\r\n")
    line = head.split(b"\r\n")[0]
    assert line.split(b" ")[1] == status if line.startswith(b"HTTP/") else status in head + body
    assert b"<" not in body
    assert body.count(b"\n") <= 1


def test_the_server_goes_on_after_clients_that_hang_up(server, ask, capfd):
    for request in (b"", b"GET", b"GET / HTTP/1.1\r\nHost"):
        raw(server, request)
    assert ask("/").status == 200
    assert capfd.readouterr() == ("", "")


def test_head_gives_the_headers_of_get(ask):
    get, head = (
        ask("/big.wasm", Accept_Encoding="gzip"),
        ask("/big.wasm", "HEAD", Accept_Encoding="gzip"),
    )
    same = ("Content-Type", "Content-Length", "Content-Encoding", "ETag", "Cache-Control")
    assert [head.headers[name] for name in same] == [get.headers[name] for name in same]
    assert (head.status, head.body) == (200, b"")
    assert ask("/nothing", "HEAD").body == b""


def test_a_range_is_answered_with_the_whole(ask):
    answer = ask("/assets/app-1.js", Range="bytes=0-4")
    assert (answer.status, len(answer.body)) == (200, 1000)


def test_what_a_browser_has_is_not_sent_again(ask):
    first = ask("/index.html")
    again = ask("/index.html", If_None_Match=f'"x", {first.headers["ETag"]}')
    assert (again.status, again.body) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert ask("/index.html", If_None_Match='"x"').status == 200
    assert ask("/index.html", Accept_Encoding="gzip").headers["ETag"] != first.headers["ETag"]


def test_only_addresses_that_change_with_their_contents_are_kept_unasked(ask):
    kept = {path: ask(path).headers["Cache-Control"] for path in ("/", "/assets/app-1.js")}
    assert kept["/"] == "no-cache"
    assert "immutable" in kept["/assets/app-1.js"]


def test_one_connection_takes_many_requests(server):
    with closing(http.client.HTTPConnection(*server.server_address)) as connection:
        for path, status in (("/", 200), ("/assets/app-1.js", 200), ("/", 200), ("/nothing", 404)):
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == status


def test_a_folder_without_a_page_is_an_error(tmp_path):
    with pytest.raises(MMDenseError, match=r"there is no page in .*: install keras_mmdense again"):
        web_site.load(tmp_path)


def test_the_server_is_reachable_from_this_machine_alone_unless_told_otherwise(server):
    assert parser().parse_args(["serve"]).host == "127.0.0.1"
    assert server.socket.getsockname()[0] == "127.0.0.1"
    assert server.url() == f"http://127.0.0.1:{server.server_address[1]}/"
    assert server.url("::1") == f"http://[::1]:{server.server_address[1]}/"


def test_a_network_address_is_told_with_what_plain_http_lacks(site, capsys):
    pages = web_site.load(site / "web", site / "models")
    with Server("0.0.0.0", 0, pages) as everywhere:
        url = serve_command._tell(everywhere, secure=False)
    told = capsys.readouterr()
    assert url in told.out
    assert "0.0.0.0" not in url
    assert "no threads" in told.err
    with Server("127.0.0.1", 0, pages) as here:
        serve_command._tell(here, secure=False)
    assert capsys.readouterr().err == ""


@pytest.mark.native  # a minimal system may lack the program openssl
def test_https_with_a_certificate(site, certificate):
    pages = web_site.load(site / "web", site / "models")
    with running(Server("127.0.0.1", 0, pages, tls_context(certificate, None))) as server:
        assert server.url().startswith("https://")
        # A client that says nothing holds nobody up.
        with socket.create_connection(server.server_address):
            trusted = ssl.create_default_context(cafile=str(certificate))
            trusted.check_hostname = False
            https = http.client.HTTPSConnection(*server.server_address, context=trusted)
            with closing(https) as connection:
                connection.request("GET", "/")
                assert connection.getresponse().read().startswith(b"<!doctype html>")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate and its key in one file."""
    path, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    subprocess.run(
        [*command.split(), "-subj", "/CN=localhost", "-keyout", str(key), "-out", str(path)],
        check=True,
        capture_output=True,
    )
    path.write_bytes(path.read_bytes() + key.read_bytes())
    return path


@pytest.mark.native
def test_a_certificate_without_its_key_is_refused(tmp_path, certificate):
    lonely = tmp_path / "lonely.pem"
    lonely.write_text(certificate.read_text("utf-8").split("-----BEGIN PRIVATE")[0], "utf-8")
    with pytest.raises(UsageError, match="PEM files that belong together"):
        tls_context(lonely, None)
