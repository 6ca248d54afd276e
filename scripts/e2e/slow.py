"""A slow way to a registry: slow.py HOST:PORT BYTES-PER-SECOND FILE.

Writes the HOST:PORT it listens at into the file. What clients send on a connection passes at that rate, answers as
they come.
"""

import asyncio
import contextlib
import pathlib
import sys

TURNS = 4  # a second
host, port = sys.argv[1].split(":")
piece = int(sys.argv[2]) // TURNS


async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter, pause: float) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await source.read(piece):
            target.write(data)
            await target.drain()
            await asyncio.sleep(pause * len(data) / piece)
    target.close()


async def serve(client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
    registry, requests = await asyncio.open_connection(host, int(port))
    await asyncio.gather(pump(client, requests, 1 / TURNS), pump(registry, answers, 0))


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    pathlib.Path(sys.argv[3]).write_text(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    await server.serve_forever()


asyncio.run(main())
