/** A Redis server of a test's own, on a free port, with its append-only file in a folder of its own. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const found = spawnSync('redis-server', ['--version']).status === 0;

/** Why tests that need Redis cannot run here, or false. In CI they must: there they fail where it is missing. */
export const withoutRedis: string | false =
  found || process.env.CI ? false : 'there is no redis-server on this machine: install it (Debian: redis-server)';

export class RedisServer {
  readonly port: number;
  readonly #folder: string;
  readonly #password: string;
  #child: ChildProcess | null = null;

  private constructor(port: number, folder: string, password: string) {
    this.port = port;
    this.#folder = folder;
    this.#password = password;
  }

  static async start({ password = '' } = {}): Promise<RedisServer> {
    if (!found) throw new Error('redis-server: not found, and the tests of the distributed queue need it');
    const server = new RedisServer(await freePort(), mkdtempSync(join(tmpdir(), 'bitdial-redis-')), password);
    await server.run();
    return server;
  }

  get url(): string {
    const login = this.#password === '' ? '' : `:${this.#password}@`;
    return `redis://${login}127.0.0.1:${this.port}/0`;
  }

  /** Also after {@link kill}: with what the append-only file holds. */
  async run(): Promise<void> {
    const { port } = this;
    const options = {
      port,
      bind: '127.0.0.1',
      dir: this.#folder,
      save: '',
      appendonly: 'yes',
      requirepass: this.#password,
      loglevel: 'warning',
    };
    const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
    const child = spawn('redis-server', args, { stdio: ['ignore', 'ignore', 'inherit'] });
    this.#child = child;
    while (!(await answers(port))) {
      if (child.exitCode !== null) throw new Error(`redis-server ended with ${child.exitCode}`);
      await sleep(20);
    }
  }

  async kill(signal: 'SIGKILL' | 'SIGTERM' = 'SIGKILL'): Promise<void> {
    const child = this.#child;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await once(child, 'exit');
  }

  /** There, but as if it had hung. */
  pause(): void {
    this.#child?.kill('SIGSTOP');
  }
  resume(): void {
    this.#child?.kill('SIGCONT');
  }

  async stop(): Promise<void> {
    await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'));
    const settle = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.on('data', (data) => settle(data.toString().startsWith('+PONG') || data.toString().startsWith('-NOAUTH')));
    socket.on('error', () => settle(false));
  });
}
