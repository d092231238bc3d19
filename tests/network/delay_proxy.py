"""A TCP proxy that delays every byte, both ways: python -m tests.network.delay_proxy HOST PORT TO_PORT DELAY_S.

For kernels without netem. It listens on HOST:PORT and connects to HOST:TO_PORT.
"""

from __future__ import annotations

import asyncio
import sys


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float) -> None:
    """Everything that arrives leaves `delay_s` later, in order; also the end."""
    loop, queue = asyncio.get_running_loop(), asyncio.Queue[tuple[float, bytes]]()

    async def leave() -> None:
        while True:
            due_s, data = await queue.get()
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            if not data:
                writer.close()
                return
            writer.write(data)

    leaving = asyncio.create_task(leave())
    while data := await reader.read(65_536):
        queue.put_nowait((loop.time() + delay_s, data))
    queue.put_nowait((loop.time() + delay_s, b""))
    await leaving


async def main(host: str, port: int, to_port: int, delay_s: float) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(host, to_port)
        await asyncio.gather(copy(reader, back, delay_s), copy(there, writer, delay_s), return_exceptions=True)

    async with await asyncio.start_server(serve, host, port) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
