"""A proxy between sites and their server that reads what crosses, by the server's certificate."""

import asyncio
import ssl
import threading
from pathlib import Path


class RecordingProxy:
    """Ends TLS on both sides and keeps every byte that it passes on.

    One thread serves all connections: a TLS connection must not be read by one thread while another
    writes to it (Python before 3.13 may crash).

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
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._listener = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        self.port: int = self._listener.sockets[0].getsockname()[1]

    @property
    def streams(self) -> list[bytes]:
        """What has crossed, a stream for each direction of each connection."""
        with self._lock:
            return [bytes(one) for one in self._streams]

    def close(self) -> None:
        """Accept no more connections and end those that are open."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._connect, "127.0.0.1", 0, ssl=self._server)

    async def _end(self) -> None:
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connect(
        self, from_site: asyncio.StreamReader, to_site: asyncio.StreamWriter
    ) -> None:
        try:
            from_server, to_server = await asyncio.open_connection(
                "127.0.0.1", self._port, ssl=self._client, server_hostname="127.0.0.1"
            )
        except OSError:
            to_site.close()
            return
        for source, target in ((from_site, to_server), (from_server, to_site)):
            task = asyncio.create_task(self._pump(source, target))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        kept = bytearray()
        with self._lock:
            self._streams.append(kept)
        try:
            while content := await source.read(1 << 16):
                with self._lock:
                    kept += content
                target.write(content)
                await target.drain()
        except OSError:
            pass
        finally:  # one direction that ends takes the other with it
            target.close()
