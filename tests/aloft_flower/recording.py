"""A proxy between sites and their server that reads what crosses, by the server's certificate."""

import socket
import ssl
import threading
from pathlib import Path


class RecordingProxy:
    """Ends TLS on both sides and keeps every byte that it passes on.

    Args:
        folder: The federation's, with the server's certificate and key.
        port: The server's.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self._port = port
        self._server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._server.load_cert_chain(folder / "server.pem", folder / "server.key")
        self._client = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        self._lock = threading.Lock()
        self._streams: list[bytearray] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def streams(self) -> list[bytes]:
        """What has crossed, a stream for each direction of each connection."""
        with self._lock:
            return [bytes(one) for one in self._streams]

    def close(self) -> None:
        """Accept no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(raw,), daemon=True).start()

    def _connect(self, raw: socket.socket) -> None:
        try:
            site = self._server.wrap_socket(raw, server_side=True)
            plain = socket.create_connection(("127.0.0.1", self._port))
            server = self._client.wrap_socket(plain, server_hostname="127.0.0.1")
        except OSError:
            return
        for source, target in ((site, server), (server, site)):
            threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    def _pump(self, source: ssl.SSLSocket, target: ssl.SSLSocket) -> None:
        kept = bytearray()
        with self._lock:
            self._streams.append(kept)
        try:
            while content := source.recv(1 << 16):
                with self._lock:
                    kept += content
                target.sendall(content)
        except OSError:
            pass
        for one in (source, target):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
