"""A network namespace from which one port of this machine can be reached, and nothing else. Needs root."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator

_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS, _UP_AND_RUNNING = 0x8914, 0x41


@contextlib.contextmanager
def closed_network(port: int) -> Iterator[str]:
    """Yield the path of a namespace in which 127.0.0.1 has this port alone, which leads to the port here.

    `nsenter --net=PATH` runs a command in it. It ends with the block.
    """
    process = subprocess.Popen(
        [sys.executable, __file__, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        fd = process.stdout.readline().strip()
        assert fd, "the namespace was not made"
        yield f"/proc/{process.pid}/fd/{fd}"
    finally:
        process.kill()
        process.wait(20)


def may_make_namespaces() -> bool:
    """Return whether this process may make network namespaces."""
    done = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    return done.returncode == 0


def main() -> None:
    """Make the namespace, print the descriptor that keeps it, and pass connections on until killed."""
    port = int(sys.argv[1])
    libc = ctypes.CDLL(None, use_errno=True)
    outside = os.open("/proc/self/ns/net", os.O_RDONLY)
    if libc.unshare(_CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    inside = os.open("/proc/self/ns/net", os.O_RDONLY)
    with socket.socket() as any_socket:
        up = struct.pack("16sh14x", b"lo", _UP_AND_RUNNING)
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, up)
    # A socket stays in the namespace in which it was made.
    listening = socket.create_server(("127.0.0.1", port))
    if libc.setns(outside, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
    sys.stdout.write(f"{inside}\n")
    sys.stdout.flush()
    asyncio.run(_pass_on(listening, port))


async def _pass_on(listening: socket.socket, port: int) -> None:
    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_copy(reader, back), _copy(there, writer))

    server = await asyncio.start_server(meet, sock=listening)
    await server.serve_forever()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    writer.close()


if __name__ == "__main__":
    main()
