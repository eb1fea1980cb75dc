"""A WebSocket client over HTTP/2 (RFC 8441), on python3-h2 and wsproto. It echoes every message and does what the lines of
JSON on its standard input say."""

import asyncio
import json
import ssl
import sys
from urllib.parse import urlsplit

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.extensions import PerMessageDeflate


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


class Socket:
    """A WebSocket on one stream."""

    def __init__(self, session, stream):
        self.session, self.stream = session, stream
        self.ws = self.pong = None
        self.ended = False
        self.message = []
        self.code, self.reason = 1006, ""
        self.fragments = 1

    def send(self, event):
        self.session.send(self.stream, self.ws.send(event))

    def received(self, data):
        self.ws.receive_data(data)
        for event in self.ws.events():
            if isinstance(event, (TextMessage, BytesMessage)):
                self.message.append(event.data)
                if event.message_finished:
                    whole = ("" if isinstance(event, TextMessage) else b"").join(self.message)
                    self.message = []
                    self.echo(type(event), whole)
            elif isinstance(event, Ping):
                self.send(event.response())
            elif isinstance(event, Pong):
                self.send(TextMessage(data="pong " + bytes(event.payload).decode()))
            elif isinstance(event, CloseConnection):
                self.code, self.reason = event.code, event.reason or ""
                if self.ws.state is ConnectionState.REMOTE_CLOSING:
                    self.send(event.response())
                self.session.end(self.stream)
                self.finish()

    def echo(self, kind, message):
        step = max(1, -(-len(message) // self.fragments))
        parts = range(0, max(1, len(message)), step)
        for i in parts:
            self.send(kind(data=message[i : i + step], message_finished=i + step >= len(message)))

    def finish(self):
        if not self.ended:
            self.ended = True
            say("closed", code=self.code, reason=self.reason)


class Session(asyncio.Protocol):
    """One HTTP/2 connection."""

    def __init__(self):
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self.h2 = h2.connection.H2Connection(config)
        self.ready = asyncio.get_running_loop().create_future()
        self.responses, self.sockets, self.pending = {}, {}, {}

    def connection_made(self, transport):
        self.transport = transport
        self.h2.initiate_connection()
        self.flush()

    def flush(self):
        self.transport.write(self.h2.data_to_send())

    def send(self, stream, data):
        self.pending[stream] = self.pending.get(stream, b"") + data
        self.work(stream)

    def closed(self, stream):
        """The connection knows of all frames that came together before the first of them is worked on here."""
        return stream not in self.h2.streams or self.h2.streams[stream].closed

    def work(self, stream):
        """Sends as much as the windows allow."""
        data = self.pending.pop(stream, b"")
        if self.closed(stream):
            return
        while data and (n := min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(data))):
            self.h2.send_data(stream, data[:n])
            data = data[n:]
        self.pending[stream] = data
        self.flush()

    def end(self, stream):
        if not self.closed(stream):
            self.h2.end_stream(stream)
            self.flush()

    def reset(self, stream):
        if not self.closed(stream):
            self.h2.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
            self.flush()

    async def open(self, url, fields):
        await self.ready
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(
            stream,
            [
                (":method", "CONNECT"),
                (":protocol", "websocket"),
                (":scheme", "https" if url.scheme == "wss" else "http"),
                (":path", url.path),
                (":authority", url.netloc),
                ("sec-websocket-version", "13"),
                *fields,
            ],
        )
        self.flush()
        self.responses[stream] = asyncio.get_running_loop().create_future()
        socket = self.sockets[stream] = Socket(self, stream)
        return socket, await self.responses[stream]

    def data_received(self, data):
        for event in self.h2.receive_data(data):
            stream = getattr(event, "stream_id", None)
            socket = self.sockets.get(stream)
            if isinstance(event, h2.events.RemoteSettingsChanged):
                announced = event.changed_settings.get(h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL)
                if not self.ready.done():
                    if announced and announced.new_value == 1:
                        self.ready.set_result(None)
                    else:
                        self.ready.set_exception(OSError("the server does not announce extended CONNECT"))
            elif isinstance(event, h2.events.ResponseReceived):
                self.responses[stream].set_result(dict(event.headers))
            elif isinstance(event, h2.events.DataReceived):
                self.h2.acknowledge_received_data(event.flow_controlled_length, stream)
                if event.data and not socket.ended:
                    socket.received(event.data)
            elif isinstance(event, h2.events.WindowUpdated):
                for waiting in [stream] if stream else list(self.pending):
                    if not self.sockets[waiting].ended:
                        self.work(waiting)
            elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                socket.finish()
        self.flush()


class Peer:
    sessions = {}
    socket = None

    async def session(self, url, caFile):
        if url.netloc not in self.sessions:
            context = None
            if caFile:
                context = ssl.create_default_context(cafile=caFile)
                context.set_alpn_protocols(["h2"])
            loop = asyncio.get_running_loop()
            _, self.sessions[url.netloc] = await loop.create_connection(Session, url.hostname, url.port, ssl=context)
        return self.sessions[url.netloc]

    async def dial(self, url, subprotocols=(), deflate=None, caFile=None, http2=True):
        url = urlsplit(url)
        session = await self.session(url, caFile)
        extensions = [PerMessageDeflate()] if isinstance(deflate, dict) else []
        fields = [("sec-websocket-protocol", ", ".join(subprotocols))]
        for extension in extensions:
            offer = extension.offer()
            fields.append(("sec-websocket-extensions", f"{extension.name}; {offer}" if offer is not True else extension.name))
        socket, response = await session.open(url, fields)
        if response[":status"] != "200":
            raise OSError(f"status {response[':status']}")
        accepted = response.get("sec-websocket-extensions", "")
        if accepted:
            extensions[0].finalize(accepted)
        socket.ws = Connection(ConnectionType.CLIENT, extensions if accepted else [])
        self.socket = socket
        say("open", subprotocol=response.get("sec-websocket-protocol", ""), extensions=accepted)

    async def ping(self, data=""):
        self.socket.send(Ping(payload=data.encode()))

    async def close(self, code=1000, reason=""):
        self.socket.send(CloseConnection(code=code, reason=reason or None))

    async def drop(self):
        self.socket.session.reset(self.socket.stream)
        self.socket.finish()

    async def run(self):
        loop = asyncio.get_running_loop()
        lines = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        while line := await lines.readline():
            command = json.loads(line)
            verb = command.pop("do")
            if verb == "fragments":
                self.socket.fragments = command["fragments"]
            else:
                await getattr(self, verb)(**command)


asyncio.run(Peer().run())
