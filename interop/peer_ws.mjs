// A WebSocket endpoint on npm's ws. It echoes every message and does what the lines of JSON on its standard input say.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer as createHTTP } from 'node:http';
import { connect as connectHTTP2, constants } from 'node:http2';
import { createServer as createHTTPS } from 'node:https';
import { createInterface } from 'node:readline';
import { duplexPair } from 'node:stream';
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

// sessionOf returns the one HTTP/2 connection to a server, once it has announced extended CONNECT.
const sessions = new Map();
function sessionOf(origin, ca) {
  if (!sessions.has(origin)) {
    sessions.set(origin, new Promise((resolve, reject) => {
      const session = connectHTTP2(origin, { ca });
      session.on('error', reject);
      session.on('remoteSettings', ({ enableConnectProtocol }) => {
        if (enableConnectProtocol) resolve(session);
        else reject(new Error('the server does not announce extended CONNECT'));
      });
    }));
  }
  return sessions.get(origin);
}

// overHTTP2 returns a connection for a handshake of HTTP/1.1, which becomes an extended CONNECT (RFC 8441).
function overHTTP2(url, ca) {
  const scheme = url.protocol === 'wss:' ? 'https' : 'http';
  const [near, far] = duplexPair();
  let head = '';
  far.on('data', function collect(chunk) {
    head += chunk.toString('latin1');
    if (!head.endsWith('\r\n\r\n')) return;
    far.off('data', collect);
    far.pause();
    open().catch((err) => near.destroy(err));
  });
  async function open() {
    const fields = {
      ':method': 'CONNECT', ':protocol': 'websocket', ':scheme': scheme, ':authority': url.host,
      ':path': url.pathname + url.search,
    };
    let key;
    for (const line of head.split('\r\n').slice(1)) {
      const [name, value] = line.split(/: (.*)/).map((s, i) => (i ? s : s.toLowerCase()));
      if (name === 'sec-websocket-key') key = value;
      else if (name && !['host', 'connection', 'upgrade'].includes(name)) fields[name] = value;
    }
    const session = await sessionOf(`${scheme}://${url.host}`, ca);
    const stream = session.request(fields, { endStream: false });
    stream.on('response', (response) => {
      if (response[':status'] !== 200) {
        near.destroy(new Error(`status ${response[':status']}`));
        return;
      }
      const accept = createHash('sha1').update(key + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');
      far.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
        `Sec-WebSocket-Accept: ${accept}\r\n` +
        Object.entries(response).filter(([name]) => name.startsWith('sec-websocket'))
          .map(([name, value]) => `${name}: ${value}\r\n`).join('') + '\r\n');
      stream.pipe(far);
      far.pipe(stream);
    });
    stream.on('error', (err) => near.destroy(err));
    stream.on('close', () => near.destroy());
    near.on('close', () => stream.close(constants.NGHTTP2_CANCEL));
  }
  return near;
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
  dial({ url, subprotocols = [], deflate = false, caFile, http2 = false }) {
    const ca = caFile && readFileSync(caFile);
    const options = { perMessageDeflate: deflate, maxPayload, ca };
    if (http2) options.createConnection = () => overHTTP2(new URL(url), ca);
    const ws = new WebSocket(http2 ? url.replace('wss:', 'ws:') : url, subprotocols, options);
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
