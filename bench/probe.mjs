/** The processor's own limits, measured in the same run; null where there is no compiler. */
import { execFile, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { median } from './measure.mjs';

/** Far more than any cache; and the packed codes of dense 4096×4096 at 2, 4 and 8 bits. */
export const READ_BYTES = [256 << 20, 4 << 20, 8 << 20, 16 << 20];

export class Probe {
  #folder;
  #samples = [];

  constructor() {
    const folder = mkdtempSync(join(tmpdir(), 'bitdial-probe-'));
    const source = fileURLToPath(new URL('probe.c', import.meta.url));
    const compilers = [process.env.CC, 'cc', 'gcc', 'clang'].filter(Boolean);
    const args = ['-O3', '-pthread', source, '-o', join(folder, 'probe')];
    const built = compilers.some((compiler) => spawnSync(compiler, args, { stdio: 'ignore' }).status === 0);
    if (built) this.#folder = folder;
    else rmSync(folder, { recursive: true });
  }

  /** Takes one more sample; memory is read in the first ones only, for it takes half a second. */
  async sample(memory = false) {
    if (!this.#folder) return;
    const args = memory ? READ_BYTES.map(String) : [];
    const { stdout } = await promisify(execFile)(join(this.#folder, 'probe'), args, { timeout: 60_000 });
    this.#samples.push(JSON.parse(stdout));
  }

  /** Medians of the samples: GMAC/s on one thread, GB/s on one and two threads by bytes read. */
  result() {
    if (this.#samples.length === 0) return null;
    const of = (pick) => median(this.#samples.map(pick));
    const withMemory = this.#samples.filter((s) => s.read.length > 0);
    const read = READ_BYTES.map((bytes, i) => ({
      bytes,
      one: median(withMemory.map((s) => s.read[i].one)),
      two: median(withMemory.map((s) => s.read[i].two)),
    }));
    const peak = (name) => of((s) => s[name]) || null;
    return { vnni: peak('vnni'), amx: peak('amx'), fma: peak('fma'), read, samples: this.#samples.length };
  }

  close() {
    if (this.#folder) rmSync(this.#folder, { recursive: true });
  }
}
