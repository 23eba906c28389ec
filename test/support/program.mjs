/** Programs that scripts start: ended by their own id, what they said kept. Nothing here builds or tests anything. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** Characters of its output that a program's record keeps. */
const KEPT = 20_000;
const STOP_MS = 90_000;
const START_MS = 60_000;

/** A port that was free a moment ago; for programs that are told their port and keep it over restarts. */
export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

export class Program {
  /** @param options of `spawn`; stdio as given, or both outputs kept in `text` */
  constructor(command, args, options = {}) {
    this.text = '';
    this.child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text) => {
        this.text = (this.text + text).slice(-KEPT);
      });
    }
    /** `[code, signal]` */
    this.exit = new Promise((resolve) => {
      this.child.once('error', (error) => resolve([error.message, null]));
      this.child.once('close', (code, signal) => resolve([code, signal]));
    });
    this.exit.then((end) => {
      this.ended = end;
    });
  }

  get pid() {
    return this.child.pid;
  }

  /** Ends it, by force after a minute and a half; how it ended. */
  async stop(signal = 'SIGTERM') {
    if (!this.ended) this.child.kill(signal);
    const late = setTimeout(() => this.child.kill('SIGKILL'), STOP_MS);
    const end = await this.exit;
    clearTimeout(late);
    return end;
  }

  /** Asks until `ask` gives something true. @throws where the program ends or it takes too long */
  async until(what, ask, ms = START_MS) {
    for (const end = performance.now() + ms; performance.now() < end; await sleep(25)) {
      if (this.ended) throw new Error(`${what}: it ended with ${this.ended}: ${this.text}`);
      const value = await ask();
      if (value) return value;
    }
    throw new Error(`${what}: not within ${ms} ms: ${this.text}`);
  }
}

/** The service as it is built, at a port that it keeps. */
export class Service {
  /** @param env its settings */
  constructor(name, port, env) {
    this.name = name;
    this.port = port;
    this.address = `127.0.0.1:${port}`;
    this.url = `http://${this.address}`;
    this.env = { PATH: process.env.PATH, HOME: process.env.HOME, HOST: '127.0.0.1', PORT: String(port), ...env };
  }

  /** Starts the process and waits until it is ready. */
  async start() {
    this.program = new Program(process.execPath, ['dist/src/main.js'], { cwd: ROOT, env: this.env });
    await this.program.until(`${this.name} is ready`, () => this.ready());
    return this;
  }

  async ready() {
    try {
      const response = await fetch(`${this.url}/health/ready`);
      await response.arrayBuffer();
      return response.ok;
    } catch {
      return false;
    }
  }

  async get(path, headers = {}) {
    const response = await fetch(this.url + path, { headers });
    if (!response.ok) throw new Error(`${this.name} ${path}: ${response.status} ${await response.text()}`);
    return response.json();
  }

  /** One value of `/metrics`, or the sum of all with such a name and labels. */
  async metric(pattern) {
    const text = await (await fetch(`${this.url}/metrics`)).text();
    const rows = text.split('\n').filter((row) => !row.startsWith('#') && pattern.test(row));
    return rows.reduce((sum, row) => sum + Number(row.slice(row.lastIndexOf(' ') + 1)), 0);
  }

  stop(signal) {
    return this.program?.stop(signal);
  }
}
