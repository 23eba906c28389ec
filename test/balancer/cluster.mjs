/**
 * What docker-compose.yml runs, on the loopback and in a folder of its own: nginx with the shipped configuration in front of two
 * serving replicas, a trainer, Redis.
 */
import { spawnSync } from 'node:child_process';
import { chownSync, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort, Program, ROOT, Service } from '../support/program.mjs';

export const ADMIN_TOKEN = 'balancer';
const TEMPLATE = join(ROOT, 'deploy/nginx/nginx.conf.template');
/** nobody: the balancer needs no rights. */
const NOBODY = 65534;
export const MAX_BODY_BYTES = 16_777_216;
/** As docker-compose.yml has it. */
export const REPLICA_CONNECTIONS = 64;

/** Path of nginx, or nothing. */
export function findNginx() {
  const names = [process.env.NGINX, '/usr/sbin/nginx', '/usr/local/sbin/nginx', '/usr/local/bin/nginx'];
  return names.find((path) => path && existsSync(path));
}

export function nginxVersion(nginx) {
  return /nginx\/\S+/.exec(spawnSync(nginx, ['-v'], { encoding: 'utf8' }).stderr)?.[0] ?? 'nginx';
}

/** Path of redis-server, or nothing. */
export function findRedis() {
  const names = [process.env.REDIS_SERVER, '/usr/bin/redis-server', '/usr/local/bin/redis-server'];
  return names.find((path) => path && existsSync(path));
}

/** What the image's envsubst does: names that are given, in braces, and nothing else. */
export function fill(template, values) {
  return template.replace(/\$\{([A-Z0-9_]+)\}/g, (whole, name) => values[name] ?? whole);
}

export class Cluster {
  /** @param redis path of redis-server; nothing: replicas that share nothing, and no trainer */
  static async start(nginx, redis) {
    const folder = await mkdtemp(join(tmpdir(), 'bitdial-balancer-'));
    const cluster = new Cluster(nginx, redis, folder);
    try {
      await cluster.#start();
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  constructor(nginx, redis, folder) {
    this.nginx = nginx;
    this.redis = redis;
    this.folder = folder;
    this.replicas = [];
  }

  async #start() {
    const shared = this.redis ? { REDIS_URL: await this.#startRedis(), DATA_DIR: join(this.folder, 'data') } : {};
    const settings = {
      ADMIN_TOKEN,
      LOG_LEVEL: 'warn',
      // replicas and their load share the machine's cores
      ENGINE_THREADS: '1',
      MAX_BODY_BYTES: String(MAX_BODY_BYTES),
      // nginx, which is on the loopback here and in one of Docker's networks there
      TRUST_PROXY: 'loopback',
      // what a busy machine takes must not be what a drain cuts
      DRAIN_MS: '60000',
    };
    for (const name of ['replica-1', 'replica-2']) {
      const own = this.redis ? { ROLE: 'serve', ...shared } : { DATA_DIR: join(this.folder, name) };
      this.replicas.push(new Service(name, await freePort(), { ...settings, ...own }));
    }
    if (this.redis) this.trainer = new Service('trainer', await freePort(), { ...settings, ROLE: 'train', ...shared });
    await Promise.all([...this.replicas, this.trainer].map((service) => service?.start()));
    await this.#startNginx();
  }

  async #startRedis() {
    const port = await freePort();
    const folder = join(this.folder, 'redis');
    await mkdir(folder);
    const args = ['--bind', '127.0.0.1', '--port', String(port), '--dir', folder, '--save', ''];
    const kept = ['--appendonly', 'yes', '--maxmemory-policy', 'noeviction'];
    this.store = new Program(this.redis, [...args, ...kept]);
    await this.store.until('Redis answers', () => /Ready to accept connections/.test(this.store.text));
    return `redis://127.0.0.1:${port}`;
  }

  async #startNginx() {
    const prefix = join(this.folder, 'nginx');
    await mkdir(prefix);
    const port = await freePort();
    this.url = `http://127.0.0.1:${port}`;
    const config = fill(readFileSync(TEMPLATE, 'utf8'), {
      LISTEN: `127.0.0.1:${port}`,
      REPLICA_1: this.replicas[0].address,
      REPLICA_2: this.replicas[1].address,
      REPLICA_CONNECTIONS: String(REPLICA_CONNECTIONS),
      // addresses, not names: nothing to look up
      RESOLVE: '',
      RESOLVER: '127.0.0.1',
      MAX_BODY_BYTES: String(MAX_BODY_BYTES),
      DEFAULT_MODEL: 'mnist-lenet',
    });
    writeFileSync(join(prefix, 'nginx.conf'), config);
    this.accessLog = join(prefix, 'access.log');
    const log = openSync(this.accessLog, 'a');
    const root = process.getuid() === 0;
    if (root) for (const path of [this.folder, prefix, this.accessLog]) chownSync(path, NOBODY, NOBODY);
    this.balancer = new Program(this.nginx, ['-p', `${prefix}/`, '-c', 'nginx.conf', '-g', 'daemon off;'], {
      stdio: ['ignore', log, 'pipe'],
      ...(root ? { uid: NOBODY, gid: NOBODY } : {}),
    });
    await this.balancer.until('nginx answers', async () => {
      const response = await fetch(`${this.url}/health/ready`).catch(() => null);
      await response?.arrayBuffer();
      return response?.ok;
    });
  }

  /** Lines of the access log since `from`, as objects. */
  async log(from = 0) {
    // nginx writes a line after the answer has left
    await sleep(50);
    const lines = readFileSync(this.accessLog, 'utf8').trimEnd().split('\n');
    return lines.slice(from).map((text) => JSON.parse(text));
  }

  async logged() {
    return (await this.log()).length;
  }

  async stop() {
    await this.balancer?.stop('SIGQUIT');
    await Promise.all([...this.replicas, this.trainer].map((service) => service?.stop()));
    await this.store?.stop();
    await rm(this.folder, { recursive: true, force: true });
  }
}
