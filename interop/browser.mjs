// A headless browser, driven by lines of JSON on standard input: node browser.mjs chrome|firefox executable profile.
//
// Its pages can be opened, clicked, typed into and asked; and the page named "peer" is a WebSocket endpoint that
// echoes every message, with the commands that peer_ws.mjs has as far as a page can obey them.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { Browser, createProfile } from '@puppeteer/browsers';
import puppeteer from 'puppeteer-core';

const [kind, executable, profile] = process.argv.slice(2);
const timeout = 25_000; // below the patience of the tests, so that the reason is told
const pages = new Map();

const say = (event, fields = {}) => process.stdout.write(JSON.stringify({ event, ...fields }) + '\n');

// endpointOf starts a program in this process's group, and with this process's standard error as its output, so that
// it is found and ended with this process. It returns the address that the program announces.
function endpointOf(args, announcement) {
  return new Promise((resolve, reject) => {
    const browser = spawn(executable, args, { stdio: ['ignore', 2, 'pipe'] });
    browser.on('error', reject);
    browser.on('exit', (code) => reject(new Error(`${executable} ended with status ${code}`)));
    createInterface({ input: browser.stderr }).on('line', (line) => {
      process.stderr.write(line + '\n');
      const found = announcement.exec(line);
      if (found) resolve(found[1]);
    });
  });
}

const launch = {
  async chrome() {
    return {
      browserWSEndpoint: await endpointOf([
        '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync',
        '--disable-background-networking', '--disable-component-update', '--disable-default-apps',
        '--disable-dev-shm-usage', '--disable-breakpad', '--disable-crash-reporter', '--password-store=basic',
        '--disable-background-timer-throttling', '--disable-renderer-backgrounding',
        '--disable-backgrounding-occluded-windows', '--no-proxy-server',
        '--remote-debugging-port=0', `--user-data-dir=${profile}`, 'about:blank',
      ], /^DevTools listening on (ws:.*)$/),
    };
  },
  async firefox() {
    await createProfile(Browser.FIREFOX, { path: profile, preferences: { 'network.proxy.type': 0 } });
    const endpoint = await endpointOf(
      ['--headless', '--no-remote', '--remote-debugging-port=0', '--profile', profile, 'about:blank'],
      /^WebDriver BiDi listening on (ws:.*)$/,
    );
    return { browserWSEndpoint: endpoint + '/session', protocol: 'webDriverBiDi' };
  },
};

const browser = await puppeteer.connect({
  ...await launch[kind](),
  acceptInsecureCerts: true, // the tests' certificate authorities live for one test
  defaultViewport: { width: 390, height: 800 },
});

const commands = {
  async open({ page: name, url }) {
    const page = await browser.newPage();
    page.setDefaultTimeout(timeout);
    page.on('pageerror', (err) => console.error(`${name}: ${err}`));
    pages.set(name, page);
    await page.goto(url);
    if (name === 'peer') await page.exposeFunction('say', say);
    say('opened', { data: await browser.version() });
  },
  async leave({ page: name }) {
    await pages.get(name).close();
    say('left');
  },
  async dial({ url, subprotocols = [] }) {
    await pages.get('peer').evaluate((url, subprotocols) => {
      const socket = globalThis.peerSocket = new WebSocket(url, subprotocols);
      socket.binaryType = 'arraybuffer';
      socket.onopen = () => say('open', { subprotocol: socket.protocol, extensions: socket.extensions });
      socket.onmessage = (event) => socket.send(event.data);
      socket.onclose = ({ code, reason }) => say('closed', { code, reason });
    }, url, subprotocols);
  },
  async close({ code, reason }) {
    await pages.get('peer').evaluate((...args) => peerSocket.close(...args), ...(code ? [code, reason ?? ''] : []));
  },
  async type({ page, selector, data }) {
    await pages.get(page).type(selector, data);
    say('typed');
  },
  async click({ page, selector }) {
    await pages.get(page).click(selector);
    say('clicked');
  },
  async wait({ page, data }) {
    // Page.waitForFunction needs eval in the page, which a content security policy may forbid.
    const deadline = Date.now() + timeout;
    while (!await pages.get(page).evaluate(data)) {
      if (Date.now() > deadline) throw new Error(`still not true: ${data}`);
      await sleep(20);
    }
    say('true');
  },
  async evaluate({ page, data }) {
    say('value', { data: String(await pages.get(page).evaluate(data)) });
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const c = JSON.parse(line);
  try {
    await commands[c.do](c);
  } catch (err) {
    say('error', { data: `${c.do}: ${err}` });
  }
}
await browser.close();
process.exit();
