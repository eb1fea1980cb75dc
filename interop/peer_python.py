"""A WebSocket endpoint on python-websockets. It echoes every message and does what the lines of JSON on its standard
input say."""

import asyncio
import json
import ssl
import sys

import websockets
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)

COMMON = {"compression": None, "max_size": 64 << 20, "ping_interval": None}


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


class Peer:
    socket = None
    fragments = 1
    server = None
    tasks = set()

    def spawn(self, coroutine):
        task = asyncio.ensure_future(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def echo(self, message):
        if self.fragments == 1:
            await self.socket.send(message)
        else:
            step = max(1, -(-len(message) // self.fragments))
            parts = range(0, max(1, len(message)), step)
            await self.socket.send([message[i : i + step] for i in parts])

    async def attach(self, socket):
        try:
            async for message in socket:
                await self.echo(message)
            raised = None
        except websockets.ConnectionClosed as exc:
            raised = exc
        # The iterator swallows a normal closure, the attributes do not.
        received = raised.rcvd if raised else None
        if raised and received is None:
            say("closed", code=1006, reason="")
        else:
            say("closed", code=socket.close_code, reason=socket.close_reason)

    async def listen(self, subprotocols=(), deflate=None, certFile=None):
        async def accept(socket):
            self.socket, self.fragments = socket, 1
            say("open", subprotocol=socket.subprotocol or "")
            await self.attach(socket)

        context = None
        if certFile:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certFile)
        self.server = await websockets.serve(
            accept,
            "127.0.0.1",
            0,
            subprotocols=list(subprotocols) or None,
            extensions=[ServerPerMessageDeflateFactory(**deflate)] if deflate is not None else None,
            ssl=context,
            **COMMON,
        )
        host, port = self.server.sockets[0].getsockname()
        say("listening", url=f"{'wss' if certFile else 'ws'}://{host}:{port}/")

    async def dial(self, url, subprotocols=(), deflate=None, caFile=None):
        context = {"ssl": ssl.create_default_context(cafile=caFile)} if caFile else {}
        self.socket = await websockets.connect(
            url,
            subprotocols=list(subprotocols) or None,
            extensions=[ClientPerMessageDeflateFactory(**deflate)] if deflate is not None else None,
            **context,
            **COMMON,
        )
        self.fragments = 1
        say(
            "open",
            subprotocol=self.socket.subprotocol or "",
            extensions=self.socket.response_headers.get("Sec-WebSocket-Extensions", ""),
        )
        self.spawn(self.attach(self.socket))

    async def ping(self, data=""):
        async def answered(pong):
            await pong
            await self.socket.send("pong " + data)

        self.spawn(answered(await self.socket.ping(data)))

    async def close(self, code=1000, reason=""):
        await self.socket.close(code, reason)

    async def drop(self):
        self.socket.transport.abort()

    async def run(self):
        loop = asyncio.get_running_loop()
        lines = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        while line := await lines.readline():
            command = json.loads(line)
            verb = command.pop("do")
            if verb == "fragments":
                self.fragments = command["fragments"]
            else:
                await getattr(self, verb)(**command)


asyncio.run(Peer().run())
