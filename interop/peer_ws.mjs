// A WebSocket endpoint on npm's ws. It echoes every message and does what the lines of JSON on its standard input say.
import { readFileSync } from 'node:fs';
import { createServer as createHTTP } from 'node:http';
import { createServer as createHTTPS } from 'node:https';
import { createInterface } from 'node:readline';
import { WebSocket, WebSocketServer } from 'ws';

const maxPayload = 64 << 20;
let socket;
let fragments = 1;

const say = (event, fields = {}) => process.stdout.write(JSON.stringify({ event, ...fields }) + '\n');

function echo(ws, data, binary) {
  const step = Math.max(1, Math.ceil(data.length / fragments));
  for (let from = 0; ; from += step) {
    const fin = from + step >= data.length;
    ws.send(data.subarray(from, from + step), { binary, fin, compress: true });
    if (fin) return;
  }
}

function attach(ws) {
  socket = ws;
  fragments = 1;
  ws.on('message', (data, binary) => echo(ws, data, binary));
  ws.on('pong', (data) => ws.send('pong ' + data));
  ws.on('error', (err) => say('error', { data: String(err) }));
  ws.on('close', (code, reason) => say('closed', { code, reason: reason.toString() }));
}

const commands = {
  listen({ subprotocols = [], deflate = false, certFile }) {
    const pem = certFile && readFileSync(certFile);
    const http = pem ? createHTTPS({ cert: pem, key: pem }) : createHTTP();
    const server = new WebSocketServer({
      server: http,
      perMessageDeflate: deflate,
      maxPayload,
      handleProtocols: (offered) => subprotocols.find((p) => offered.has(p)) ?? false,
    });
    server.on('connection', (ws) => {
      attach(ws);
      say('open', { subprotocol: ws.protocol });
    });
    http.listen(0, '127.0.0.1', () => {
      say('listening', { url: `${pem ? 'wss' : 'ws'}://127.0.0.1:${http.address().port}/` });
    });
  },
  dial({ url, subprotocols = [], deflate = false, caFile }) {
    const ca = caFile && readFileSync(caFile);
    const ws = new WebSocket(url, subprotocols, { perMessageDeflate: deflate, maxPayload, ca });
    let extensions = '';
    ws.on('upgrade', (response) => { extensions = response.headers['sec-websocket-extensions'] ?? ''; });
    ws.on('open', () => say('open', { subprotocol: ws.protocol, extensions }));
    attach(ws);
  },
  fragments(c) { fragments = c.fragments; },
  ping({ data }) { socket.ping(data); },
  close({ code, reason }) { socket.close(code, reason); },
  drop() { socket.terminate(); },
};

createInterface({ input: process.stdin })
  .on('line', (line) => {
    const c = JSON.parse(line);
    commands[c.do](c);
  })
  .on('close', () => process.exit());
