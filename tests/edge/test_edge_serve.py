"""`mmdense serve`: its files, its headers, what it refuses, how it starts and ends."""

import gzip
import hashlib
import html
import http.client
import json
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from command_runs import started
from mmdense_edge.cli import serve_command
from mmdense_edge.cli.main import main
from mmdense_edge.errors import MMDenseError, UsageError
from mmdense_edge.model import bundled
from mmdense_edge.serve.server import HEADERS, Page, Server, export, load, tls_context

SECRET = b"nobody shall read this"
HTML, SCRIPT, WASM = b"<!doctype html><title>page</title>", b"let a = 1;" * 100, b"\0asm" * 1000


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
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Page]:
    """A small page, with a secret beside it and links to it inside; the files are gone again."""
    root = tmp_path_factory.mktemp("site")
    web, models = root / "web", root / "models"
    for path, content in {
        "secret.txt": SECRET,
        "outside/secret.js": SECRET,
        "web/index.html": HTML,
        "web/assets/app-1.js": SCRIPT,
        "web/big.wasm.gz": gzip.compress(WASM),
        "web/.hidden.js": SECRET,
        "web/notes.py": SECRET,
        "models/small.tflite": b"weights",
        "models/README.md": SECRET,
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    (web / "link.txt").symlink_to(root / "secret.txt")
    (web / "folder").symlink_to(root / "outside")
    (models / "link.tflite").symlink_to(root / "secret.txt")
    found = load(web, models)
    shutil.rmtree(web)
    return found


@pytest.fixture(scope="module")
def server(pages: dict[str, Page]) -> Iterator[Server]:
    with running(Server("127.0.0.1", 0, pages)) as started:
        yield started


def ask(server: Server, path: str, **headers: str) -> http.client.HTTPResponse:
    """Makes a request; the answer has its body as `body`."""
    with closing(http.client.HTTPConnection(*server.server_address)) as connection:
        connection.request("GET", path, None, {n.replace("_", "-"): v for n, v in headers.items()})
        answer = connection.getresponse()
        answer.body = answer.read()  # type: ignore[attr-defined]
    return answer


def raw(server: Server, request: bytes) -> bytes:
    """Sends bytes as they are and returns all that comes back."""
    with socket.create_connection(server.server_address) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize(
    ("path", "content_type", "body"),
    [
        ("/", "text/html; charset=utf-8", HTML),
        ("/index.html?source=pwa", "text/html; charset=utf-8", HTML),
        ("/assets/app-1.js", "text/javascript; charset=utf-8", SCRIPT),
        ("/%61ssets/app-1.js", "text/javascript; charset=utf-8", SCRIPT),
        ("/big.wasm", "application/wasm", WASM),
        ("/models/small.tflite?v=1", "application/octet-stream", b"weights"),
    ],
)
def test_files_come_with_their_type_and_the_headers_that_threads_need(
    server, path, content_type, body
):
    answer = ask(server, path)
    assert (answer.status, answer.headers["Content-Type"], answer.body) == (200, content_type, body)
    headers = {**HEADERS, "Cross-Origin-Opener-Policy": "same-origin", "Server": "mmdense "}
    assert {name: answer.headers[name] for name in headers} == headers
    lasting = path not in ("/", "/index.html?source=pwa", "/big.wasm")
    assert ("immutable" in answer.headers["Cache-Control"]) is lasting
    for etag, expected in ((f'"x", {answer.headers["ETag"]}', (304, b"")), ('"x"', (200, body))):
        again = ask(server, path, If_None_Match=etag)
        assert (again.status, again.body) == expected


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        ("gzip", True), ("br, gzip;q=0.5", True), ("deflate,gzip ; q=1.0,br", True),
        ("gzip;q=0, *", False), ("gzip;q=0.00", False), ("gzip;q=none", False), ("br", False),
        ("x-gzip", False), ("", False),
    ],
)  # fmt: skip
def test_compressed_files_go_to_those_who_take_them(server, accepted, packed):
    plain = ask(server, "/models/small.tflite", Accept_Encoding=accepted)
    assert (plain.headers["Content-Encoding"], plain.body) == (None, b"weights")
    for path, expected in (("/big.wasm", WASM), ("/assets/app-1.js", SCRIPT)):
        answer = ask(server, path, Accept_Encoding=accepted)
        assert (answer.headers["Content-Encoding"] == "gzip") is packed
        assert answer.headers["Vary"] == "Accept-Encoding"
        assert answer.headers["ETag"].endswith('-gzip"') is packed
        assert int(answer.headers["Content-Length"]) == len(answer.body)
        assert (gzip.decompress(answer.body) if packed else answer.body) == expected


@pytest.mark.parametrize("header", ["", "Accept-Encoding: gzip\r\n", "If-None-Match: {}\r\n"])
@pytest.mark.parametrize("path", ["/", "/assets/app-1.js", "/big.wasm", "/nothing"])
def test_head_gives_the_headers_of_get_and_no_body(server, path, header):
    tag = ask(server, path).headers["ETag"]
    request = f" {path} HTTP/1.1\r\nConnection: close\r\n{header.format(tag)}\r\n".encode()
    get, head = (raw(server, method + request) for method in (b"GET", b"HEAD"))
    headers, _, body = get.partition(b"\r\n\r\n")
    dated = re.compile(rb"Date: .*")
    assert dated.sub(b"", head) == dated.sub(b"", headers) + b"\r\n\r\n"
    assert bool(body) is not headers.startswith(b"HTTP/1.1 304 ")


TRAVERSALS = """
    /../secret.txt /assets/../../secret.txt /..%2fsecret.txt /%2e%2e/secret.txt
    /%2e%2e%2fsecret.txt /%252e%252e%252fsecret.txt /..%5csecret.txt /..\\secret.txt
    /....//secret.txt /.%00./secret.txt /index.html%00.txt /%c0%ae%c0%ae/secret.txt //secret.txt
    //etc/passwd /etc/passwd /models/../../secret.txt /models/../secret.txt file:///etc/passwd
    http://127.0.0.1/../secret.txt secret.txt *
"""
HIDDEN = """
    /link.txt /folder/secret.js /.hidden.js /notes.py /big.wasm.gz /assets/ /assets
    /models/README.md /models/link.tflite /models/ /index.html/ /INDEX.HTML /nothing
"""


@pytest.mark.parametrize("path", (TRAVERSALS + HIDDEN).split())
def test_nothing_outside_and_nothing_hidden_is_served(server, path):
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    assert raw(server, request).startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        *((f"{method} / HTTP/1.1\r\nHost: x\r\n\r\n".encode(), b"501") for method in
          ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW", "get", "<script>")),
        (b"GET / HTTP/9.9\r\n\r\n", b"505"),
        (b"GET / HTTP/x\r\n\r\n", b"400"),
        (b"GET / / HTTP/1.1 extra\r\n\r\n", b"400"),
        (b"\0\1\2\3\r\n\r\n", b"400"),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\n" + b"X: 1\r\n" * 200 + b"\r\n", b"431"),
        (b"GET /" + b"%2e%2e/" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"404"),
    ],
)  # fmt: skip
def test_odd_requests_get_a_plain_line(server, request_, status):
    head, _, body = raw(server, request_).partition(b"\r\n\r\n")
    line = head.split(b"\r\n")[0]
    assert line.split(b" ")[1] == status if line.startswith(b"HTTP/") else status in head + body
    assert b"<" not in body
    assert body.count(b"\n") <= 1


def test_the_server_goes_on_after_clients_that_hang_up(server, capfd):
    for request in (b"", b"GET", b"GET / HTTP/1.1\r\nHost"):
        raw(server, request)
    twice = b"GET / HTTP/1.1\r\n\r\nGET /nothing HTTP/1.1\r\n\r\n"  # in one connection
    assert re.findall(rb"HTTP/1.1 (\d+)", raw(server, twice)) == [b"200", b"404"]
    assert capfd.readouterr() == ("", "")


def test_a_folder_without_a_page_is_an_error(tmp_path):
    with pytest.raises(MMDenseError, match=r"there is no page in .*: install keras_mmdense again"):
        load(tmp_path)


def test_an_export_holds_every_file_without_compression(pages, tmp_path):
    for folder in (tmp_path / "new" / "page", tmp_path):
        if folder == tmp_path:
            shutil.rmtree(tmp_path / "new")  # an empty folder is taken
        export(pages, folder)
        files = [path for path in folder.rglob("*") if path.is_file()]
        found = {f"/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in files}
        assert found == {address: page.plain for address, page in pages.items() if address != "/"}
        assert (found["/big.wasm"], found["/index.html"]) == (WASM, HTML)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (Path.touch, "exists and is not an empty folder. Choose another one"),
        (lambda path: path.symlink_to("nowhere"), "exists and is not an empty folder"),
        (lambda path: export({"/": Page("", b"old", False, "", False)}, path), "exists and is not"),
        (lambda path: None, "cannot write the page to .*. Choose another folder"),
        (Path.mkdir, "cannot write the page to .*. Choose another folder"),
    ],
)
@pytest.mark.parametrize("folder", ["page", "new/page"])
def test_an_export_replaces_nothing_and_leaves_nothing_half_written(
    pages, tmp_path, make, told, folder
):
    make(tmp_path / "page")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(MMDenseError, match=told if folder == "page" else "cannot write"):
        export({**pages, "/index.html/below": pages["/"]}, tmp_path / folder)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_the_page_is_opened_where_it_is_served(monkeypatch, capsys, host):
    """From this machine alone by default; a network address comes with a warning about http."""
    opened, bound = [], []

    def interrupt(self: Server) -> None:
        bound.extend(self.socket.getsockname())
        raise KeyboardInterrupt

    monkeypatch.setattr(serve_command.webbrowser, "open", opened.append)
    monkeypatch.setattr(Server, "serve_forever", interrupt)
    options = [] if host == "127.0.0.1" else ["--host", host]
    assert main(["serve", "--port", "0", "--open", *options]) == 0
    told = capsys.readouterr().err
    (url,) = opened
    assert url.endswith(f":{bound[1]}/")
    assert (bound[0], "0.0.0.0" in url, "no threads" in told) == (host, False, bool(options))


@pytest.mark.native  # a minimal system may lack the program openssl
def test_https_with_a_certificate(pages, tmp_path):
    path, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    command += f" -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {path}"
    subprocess.run(command.split(), check=True, capture_output=True)
    with pytest.raises(UsageError, match="PEM files that belong together"):
        tls_context(path, None)
    with running(Server("127.0.0.1", 0, pages, tls_context(path, key))) as server:
        assert server.url("::1") == f"https://[::1]:{server.server_address[1]}/"
        # A client that says nothing holds nobody up.
        with socket.create_connection(server.server_address):
            trusted = ssl.create_default_context(cafile=str(path))
            with closing(urllib.request.urlopen(server.url(), context=trusted)) as page:
                assert page.read() == HTML


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--port", "65536"], 2, "--port must be from 0 to 65535; received 65536"),
        (["--port", "-1"], 2, "--port must be from 0 to 65535; received -1"),
        (["--key", "key.pem"], 2, "--key needs --certificate"),
        (["--export", "."], 1, ". exists and is not an empty folder. Choose another one"),
        (["--certificate", "missing.pem"], 2, "cannot use the certificate in missing.pem"),
        (["--host", "192.0.2.7", "--port", "0"], 1, "Use an address of this machine"),
        (["--host", "no such\nname", "--port", "0"], 1, "Use an address of this machine"),
        (["--port", "TAKEN"], 1, "is in use. Choose another one with --port, or 0 for a free one"),
    ],
)
def test_wrong_options_are_told_in_one_line(capsys, server, arguments, code, told):
    taken = str(server.server_address[1])
    assert main(["serve", *(taken if one == "TAKEN" else one for one in arguments)]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line


@pytest.mark.parametrize(
    ("ignored", "number", "code", "last"),
    [
        (None, signal.SIGINT, 0, "mmdense: stopped\n"),
        (None, signal.SIGHUP, 129, "mmdense: terminated\n"),
        (signal.SIGINT, signal.SIGTERM, 143, "mmdense: terminated\n"),
    ],
)
def test_the_command_serves_the_built_page_and_ends_cleanly(ignored, number, code, last):
    """A signal that is ignored from the start does not stop it."""
    command = [sys.executable, "-m", "mmdense_edge", "serve", "--port", "0"]
    with subprocess.Popen(
        started(command, (ignored.name,) if ignored else ()),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            url = process.stdout.readline().split()[5]
            process.send_signal(ignored or 0)
            with closing(urllib.request.urlopen(url)) as page:
                assert b"<title>mmdense" in page.read()
            process.send_signal(number)
            assert process.wait() == code
            assert process.stderr.read() == last
        finally:
            process.kill()  # or a failure would wait for it for ever


def test_the_built_page_is_whole_and_below_12_mb(tmp_path):
    """What the page asks for by name is there, and the models are those of the folder."""
    pages = load()
    plain = {path: page.plain for path, page in pages.items()}
    assert main(["serve", "--export", str(tmp_path / "page")]) == 0
    assert (tmp_path / "page/models.json").read_bytes() == plain["/models.json"]
    policy = HEADERS["Content-Security-Policy"].removesuffix("; frame-ancestors 'none'")
    assert f'content="{policy}"' in html.unescape(plain["/index.html"].decode())
    assert all(value in plain["/sw.js"].decode() for value in HEADERS.values())
    models = json.loads(plain["/models.json"])
    default = {entry["name"]: entry["isDefault"] for entry in models}
    assert default == {name: name == bundled.default() for name in bundled.names()}
    for entry in models:
        path, _, version = entry["url"].partition("?v=")
        assert len(plain[f"/{path}"]) == entry["bytes"]
        digest = hashlib.sha256(plain[f"/{path}"]).hexdigest()
        assert digest.startswith(version), "make web, then commit"
    assert b"__FILES__" not in plain["/sw.js"]
    builds = [path for path in pages if path.startswith("/litert-") and path.endswith(".wasm")]
    assert [plain[path][:4] for path in builds] == [b"\0asm"] * 3
    scripts = {path.replace(".wasm", ".js") for path in builds}
    assert {"/licences.txt", "/manifest.webmanifest", "/icon-192.png", *scripts} <= set(pages)
    # one of the builds, all models, all else; as sent to a browser that takes gzip
    sizes = {path: len(page.content) for path, page in pages.items() if path != "/"}
    wasm = [sizes.pop(path) for path in builds]
    assert sum(sizes.values()) + max(wasm) < 12_000_000
