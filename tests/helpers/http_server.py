"""An HTTP server on this machine for a folder, whose faults a test chooses."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any


@dataclass
class Server:
    """A running server: its address, the paths that were asked for, and its faults.

    `faults` maps the end of a path to what goes wrong with it: "cut" ends the connection in the
    middle, "short" sends less than HEAD announced, and a number is a status. `num_faults` limits
    how often they occur.
    """

    url: str = ""
    asked: list[str] = field(default_factory=list)
    faults: dict[str, Any] = field(default_factory=dict)
    num_faults: int = 1_000
    login: str | None = None

    def downloads(self) -> list[str]:
        """The shards that were sent, in order."""
        return [path for path in self.asked if path.startswith("GET") and ".tar" in path]


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, *arguments: Any, server_of_test: Server, **options: Any) -> None:
        self.test = server_of_test
        super().__init__(*arguments, **options)

    def log_message(self, *_: Any) -> None:
        pass

    def _fault(self) -> Any:
        for end, fault in self.test.faults.items():
            if self.path.partition("?")[0].endswith(end):
                return fault
        return None

    def do_HEAD(self) -> None:
        self._answer(super().do_HEAD)

    def do_GET(self) -> None:
        self._answer(self._send)

    def _answer(self, send: Any) -> None:
        self.test.asked.append(f"{self.command} {self.path}")
        if self.test.login is not None:
            expected = "Basic " + base64.b64encode(self.test.login.encode()).decode()
            if self.headers.get("Authorization") != expected:
                self.send_error(401)
                return
        if isinstance(fault := self._fault(), int) and self._occurs():
            self.send_error(fault)
            return
        send()

    def _occurs(self) -> bool:
        self.test.num_faults -= 1
        return self.test.num_faults >= 0

    def _send(self) -> None:
        fault = self._fault()
        if fault not in ("cut", "short") or not self._occurs():
            super().do_GET()
            return
        content = Path(self.translate_path(self.path)).read_bytes()
        sent = content[: len(content) // 2]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content if fault == "cut" else sent)))
        self.end_headers()
        self.wfile.write(sent)
        self.close_connection = True


@contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """Serve a folder on a free port of 127.0.0.1."""
    of_test = Server()
    handler = partial(_Handler, server_of_test=of_test, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    of_test.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield of_test
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
