import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Version } from '../../src/model/store.js';

interface FakeVersion {
  job: string;
  created: string;
}

/** A store of versions that are one file each, with the real one's promises: whole or absent, numbers never used twice. */
export class FakeStore {
  readonly #folder: string;

  constructor(dataDir: string) {
    this.#folder = join(dataDir, 'fake-versions');
  }

  publish(model: string, job: string): Version {
    const folder = join(this.#folder, model);
    mkdirSync(folder, { recursive: true });
    const temporary = join(folder, `new-${process.pid}-${Math.random()}`);
    writeFileSync(temporary, JSON.stringify({ job, created: new Date().toISOString() } satisfies FakeVersion));
    for (let number = this.#numbers(model).length + 1; ; number++) {
      try {
        linkSync(temporary, join(folder, `${number}.json`));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'EEXIST') continue;
        throw error;
      }
      unlinkSync(temporary);
      return this.#version(model, number);
    }
  }

  setCurrentNow(model: string, version: number): void {
    const path = join(this.#folder, model, 'current');
    writeFileSync(`${path}.tmp`, String(version));
    renameSync(`${path}.tmp`, path);
  }

  current(model: string): number {
    const path = join(this.#folder, model, 'current');
    return existsSync(path) ? Number(readFileSync(path, 'utf8')) : 0;
  }

  /** Ids of the jobs that published, version by version. */
  jobs(model: string): string[] {
    return this.#numbers(model).map((n) => this.#version(model, n).manifest.training?.job ?? '');
  }

  async models(): Promise<{ name: string; current: number; versions: { version: number }[] }[]> {
    if (!existsSync(this.#folder)) return [];
    return readdirSync(this.#folder).map((name) => ({
      name,
      current: this.current(name),
      versions: this.#numbers(name).map((version) => ({ version })),
    }));
  }

  async get(model: string, version?: number): Promise<Version> {
    return this.#version(model, version ?? this.current(model));
  }

  async setCurrent(model: string, version: number): Promise<Version> {
    this.setCurrentNow(model, version);
    return this.#version(model, version);
  }

  refresh(): void {
    // It remembers nothing.
  }

  #numbers(model: string): number[] {
    const folder = join(this.#folder, model);
    if (!existsSync(folder)) return [];
    const names = readdirSync(folder).filter((n) => n.endsWith('.json'));
    return names.map((n) => Number.parseInt(n, 10)).sort((a, b) => a - b);
  }

  #version(model: string, version: number): Version {
    const text = readFileSync(join(this.#folder, model, `${version}.json`), 'utf8');
    const { job, created } = JSON.parse(text) as FakeVersion;
    const manifest = { created, precisions: { '4x4': { accuracy: 0.5 } }, training: { job } };
    return { model, version, digest: `digest-${version}`, folder: '', manifest, graph: {} } as unknown as Version;
  }
}
