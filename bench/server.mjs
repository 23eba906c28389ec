/** A server process of its own, on a free port of the loopback, ended by its id. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const START_MS = 30_000;
export const ADMIN_TOKEN = 'bench';

export class Server {
  /** @param env settings beyond the port, the folder for data and the token */
  static async start(env = {}) {
    const dataDir = await mkdtemp(join(tmpdir(), 'bitdial-data-'));
    const settings = { PORT: '0', HOST: '127.0.0.1', DATA_DIR: dataDir, LOG_LEVEL: 'error', ADMIN_TOKEN, ...env };
    const root = fileURLToPath(new URL('..', import.meta.url));
    const child = spawn(process.execPath, [join(root, 'dist/src/main.js')], {
      cwd: root,
      env: { ...process.env, ...settings },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const server = new Server(child, dataDir);
    try {
      server.url = await server.#ready();
    } catch (error) {
      await server.stop();
      throw error;
    }
    return server;
  }

  constructor(child, dataDir) {
    this.child = child;
    this.dataDir = dataDir;
  }

  #ready() {
    return new Promise((resolve, reject) => {
      let text = '';
      const fail = (why) => {
        clearTimeout(timer);
        reject(new Error(`the server ${why}: ${text}`));
      };
      const timer = setTimeout(() => fail(`was not ready within ${START_MS} ms`), START_MS);
      this.child.once('exit', (code) => fail(`ended with code ${code}`));
      this.child.stderr.on('data', (chunk) => {
        text += chunk;
        const url = /bitdial is ready on (http:\S+)/.exec(text)?.[1];
        if (!url) return;
        clearTimeout(timer);
        resolve(url);
      });
    });
  }

  /** One prediction of raw float32 pixels; the answer. */
  async predict(pixels, query) {
    const response = await fetch(`${this.url}/predict?dtype=float32&${query}`, {
      method: 'POST',
      headers: { 'content-type': 'application/octet-stream' },
      body: pixels,
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(`/predict: ${response.status} ${JSON.stringify(answer)}`);
    return answer;
  }

  async admin(method, path, body) {
    const headers = { authorization: `Bearer ${ADMIN_TOKEN}`, ...(body ? { 'content-type': 'application/json' } : {}) };
    const response = await fetch(this.url + path, { method, headers, body: body && JSON.stringify(body) });
    const answer = await response.json();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${JSON.stringify(answer)}`);
    return answer;
  }

  /** Bytes: all that is resident, and of it what is memory of its own and what are pages of files. */
  async memory() {
    const status = await readFile(`/proc/${this.child.pid}/status`, 'utf8');
    const bytes = (name) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) * 1024;
    return { rss: bytes('VmRSS'), anonymous: bytes('RssAnon'), file: bytes('RssFile'), peak: bytes('VmHWM') };
  }

  async stop() {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const gone = once(this.child, 'exit');
      this.child.kill('SIGTERM');
      const late = setTimeout(() => this.child.kill('SIGKILL'), 20_000);
      await gone;
      clearTimeout(late);
    }
    await rm(this.dataDir, { recursive: true, force: true });
  }
}
