// The echo server of npm's ws, obeying the commands of server/serve.
'use strict';

const { WebSocketServer } = require('ws');
const args = new Set(process.argv.slice(2));

const server = new WebSocketServer({
  host: '127.0.0.1',
  port: 0,
  maxPayload: 16 << 20,
  perMessageDeflate: args.has('-deflate')
    ? { serverNoContextTakeover: !args.has('-takeover'), zlibDeflateOptions: { level: 1 } }
    : false,
});

server.on('listening', () => {
  const { address, port } = server.address();
  console.log(`${address}:${port}`);
});

server.on('connection', (socket) => {
  socket.on('error', () => {});
  socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
});

require('readline')
  .createInterface({ input: process.stdin })
  .on('line', (line) => {
    if (line === 'gc') {
      for (let i = 0; i < 4; i++) global.gc();
      console.log(`ok ${process.memoryUsage().heapUsed}`);
      return;
    }
    console.log('ok');
    const [, times, text] = line.match(/^broadcast (\d+) (.*)$/);
    for (let i = 0; i < Number(times); i++) {
      const payload = Buffer.from(text);
      payload[0] += i;
      for (const socket of server.clients) socket.send(payload, { binary: true });
    }
  })
  .on('close', () => process.exit(0));
