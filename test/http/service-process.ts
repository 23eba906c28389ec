/** The built service as a process of its own, over folders of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ModelStore } from '../../src/model/store.js';
import { tinyNewVersion } from './tiny.js';

const MAIN = fileURLToPath(new URL('../../src/main.js', import.meta.url));

export class ServiceProcess {
  /** Log lines. */
  stdout = '';
  /** Lines for people. */
  stderr = '';
  readonly child: ChildProcess;
  /** Exit code and signal. */
  readonly exit: Promise<[number | null, string | null]>;

  constructor(env: Record<string, string>) {
    const inherited = { PATH: process.env.PATH, HOME: process.env.HOME };
    this.child = spawn(process.execPath, [MAIN], { env: { ...inherited, PORT: '0', ...env } });
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
    });
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.exit = once(this.child, 'close') as Promise<[number | null, string | null]>;
  }

  /** With the tiny net as `mnist-lenet`; ends with the test. */
  static async start(t: TestContext, env: Record<string, string> = {}): Promise<ServiceProcess> {
    const folder = mkdtempSync(join(tmpdir(), 'bitdial-http-'));
    const modelsDir = join(folder, 'models');
    const store = new ModelStore({ modelsDir, writeTo: 'models' });
    await store.publish(tinyNewVersion('mnist-lenet'), { makeCurrent: true });
    const service = new ServiceProcess({ MODELS_DIR: modelsDir, DATA_DIR: join(folder, 'data'), ...env });
    t.after(async () => {
      if (service.child.exitCode === null) service.child.kill('SIGKILL');
      await service.exit;
      rmSync(folder, { recursive: true, force: true });
    });
    return service;
  }

  /** URL of the service once it says that it is ready. */
  async ready(): Promise<string> {
    const [, url] = await this.said(/^bitdial is ready on (http:\S+)/m);
    return url;
  }

  /** Waits for a line on stderr. */
  async said(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(this.stderr);
      if (match) return match;
      const ended = await Promise.race([once(this.child.stderr as never, 'data'), this.exit.then(() => 'ended')]);
      if (ended === 'ended' && !pattern.test(this.stderr)) throw new Error(`it never said ${pattern}: ${this.stderr}`);
    }
  }
}
