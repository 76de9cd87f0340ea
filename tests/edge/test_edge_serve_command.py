"""The command `mmdense serve` and the page that it serves: options, how it ends, what is in it."""

from __future__ import annotations

import hashlib
import http.client
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest
from mmdense_edge.cli import serve_command
from mmdense_edge.cli.main import main
from mmdense_edge.model import bundled
from mmdense_edge.serve import site
from mmdense_edge.serve.server import Server
from shells import started


def test_a_port_that_is_taken_is_told_in_one_line(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 1
    error = capsys.readouterr().err
    assert error == (
        f"mmdense: port {port} on 127.0.0.1 is taken: give another one with --port, or 0 for a "
        "free one\n"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--port", "65536"], 2, "--port must be from 0 to 65535, got 65536"),
        (["--port", "-1"], 2, "--port must be from 0 to 65535, got -1"),
        (["--key", "key.pem"], 2, "--key needs --certificate"),
        (["--certificate", "missing.pem"], 2, "cannot use the certificate in missing.pem"),
        (["--host", "192.0.2.7", "--port", "0"], 1, "give an address of this machine"),
        (["--host", "no such\nname", "--port", "0"], 1, "give an address of this machine"),
    ],
)
def test_wrong_options_are_told_in_one_line(capsys, arguments, code, told):
    assert main(["serve", *arguments]) == code
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


@contextmanager
def serving(*ignored: str) -> Iterator[tuple[subprocess.Popen[str], Callable[[], bytes]]]:
    """Starts the command; gives its process and what asks it for the page."""
    command = [sys.executable, "-m", "mmdense_edge", "serve", "--port", "0"]
    with subprocess.Popen(
        started(command, ignored), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            host, _, port = process.stdout.readline().split("//")[1].split("/")[0].partition(":")

            def page() -> bytes:
                with closing(http.client.HTTPConnection(host, int(port))) as connection:
                    connection.request("GET", "/")
                    return connection.getresponse().read()

            yield process, page
        finally:
            process.kill()  # or a failure would wait for it for ever


@pytest.mark.parametrize(
    ("number", "code", "last"),
    [
        (signal.SIGINT, 0, "mmdense: stopped\n"),
        (signal.SIGTERM, 143, "mmdense: terminated\n"),
        (signal.SIGHUP, 129, "mmdense: terminated\n"),
    ],
)
def test_the_command_serves_the_built_page_and_ends_cleanly(number, code, last):
    with serving() as (process, page):
        assert b"<title>mmdense" in page()
        process.send_signal(number)
        assert process.wait() == code
        assert process.stderr.read() == last


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_is_ignored_from_the_start_does_not_stop_it(number):
    with serving(number.name) as (process, page):
        process.send_signal(number)
        assert b"<title>mmdense" in page()
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 143
        assert process.stderr.read() == "mmdense: terminated\n"


def test_open_opens_the_page_that_is_served(monkeypatch, capsys):
    opened = []
    monkeypatch.setattr(serve_command.webbrowser, "open", opened.append)

    def interrupt(self: Server) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Server, "serve_forever", interrupt)
    assert main(["serve", "--port", "0", "--open"]) == 0
    assert opened == [capsys.readouterr().out.split(" at ")[1].split(" ")[0]]


def test_the_built_page_is_whole():
    """What the page asks for by name is there, and the models are those of the folder."""
    pages = site.load()
    models = json.loads(pages["/models.json"].body(False)[0])
    assert {entry["name"] for entry in models} == set(bundled.names())
    assert [entry["name"] for entry in models if entry["isDefault"]] == [bundled.default()]
    for entry in models:
        path, _, version = entry["url"].partition("?v=")
        data = pages["/" + path].body(False)[0]
        assert len(data) == entry["bytes"]
        assert hashlib.sha256(data).hexdigest().startswith(version), "make web, then commit"
    worker = pages["/sw.js"].body(False)[0].decode()
    assert "__FILES__" not in worker
    assert {"/licences.txt", "/manifest.webmanifest", "/icon-192.png"} <= set(pages)
    builds = [name for name in pages if name.endswith(".wasm")]
    assert len(builds) == 3
    for name in builds:
        assert pages[name].body(False)[0].startswith(b"\0asm")
        assert name.replace(".wasm", ".js") in pages


def test_all_that_a_phone_can_download_is_below_12_mb():
    """One of the builds, all models, all else; as sent to a browser that takes gzip."""
    sizes = {path: len(page.body(True)[0]) for path, page in site.load().items() if path != "/"}
    builds = [size for path, size in sizes.items() if path.endswith(".wasm")]
    total = sum(sizes.values()) - sum(builds) + max(builds)
    assert max(builds) < total < 12_000_000
