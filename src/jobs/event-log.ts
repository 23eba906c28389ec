import { type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { syncFolder } from '../model/durable.js';
import { isTerminal, type JobEvent } from './job.js';

const CHUNK = 65536;
const NEWLINE = 10;

/**
 * The events of one job: a file of JSON lines whose ids count 1, 2, 3 … also across restarts. Readers follow the file
 * itself, up to the bytes that were announced. So replay and live events come from one place (nothing to lose or repeat
 * at a seam), and a slow reader costs no memory however far it falls behind.
 */
export class EventLog {
  readonly #path: string;
  /** Bytes that readers may see; whole lines, already written (state changes: fsynced). */
  #announced: number;
  #lastId: number;
  /** `state attempts` of the last state event. */
  #lastState: string;
  #stopped = false;
  #turn: Promise<unknown> = Promise.resolve();
  readonly #waiting = new Set<() => void>();

  private constructor(path: string, found: { size: number; lastId: number; lastState: string }) {
    this.#path = path;
    this.#announced = found.size;
    this.#lastId = found.lastId;
    this.#lastState = found.lastState;
  }

  /** Opens or begins the log; a torn last line (a kill in the midst of a write) is cut off. */
  static async open(path: string): Promise<EventLog> {
    const found = { size: 0, lastId: 0, lastState: '' };
    const file = await openIfThere(path);
    if (file !== null) {
      try {
        const { size } = await file.stat();
        for await (const { event, end } of lines(file, () => size)) {
          found.size = end;
          if (event === null) continue;
          found.lastId = event.id;
          if (event.type === 'state') found.lastState = stateOf(event.data);
        }
        if (found.size < size) await truncate(path, found.size);
      } finally {
        await file.close();
      }
    }
    return new EventLog(path, found);
  }

  /** Announces a change of state, once it is on disk; the state that the log already ends with is not repeated. */
  appendState(data: JobEvent['data']): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#lastState === stateOf(data)) return;
      await this.#append('state', data, true);
      this.#lastState = stateOf(data);
    });
  }

  /** Announces progress; not fsynced: a power cut may cost the last of it, a kill does not. */
  appendProgress(data: JobEvent['data']): Promise<void> {
    return this.#inTurn(() => this.#append('progress', data, false));
  }

  /**
   * Events after an id, as they are there and then as they come; ends after the event of a terminal state, on abort and
   * when the log is stopped. An `afterId` past the last event counts as the last event.
   */
  async *read(afterId: number, signal: AbortSignal): AsyncGenerator<JobEvent, void, undefined> {
    const after = Math.min(afterId, this.#lastId);
    let file: FileHandle | null = null;
    let position = 0;
    try {
      while (!signal.aborted) {
        file ??= await openIfThere(this.#path);
        if (file !== null) {
          for await (const { event, end } of lines(file, () => this.#announced, position)) {
            position = end;
            if (event === null) continue;
            if (event.id > after) yield event;
            if (signal.aborted || (event.type === 'state' && isTerminal(event.data.state))) return;
          }
        }
        if (this.#stopped) return;
        if (position >= this.#announced) await this.#change(signal);
      }
    } finally {
      await file?.close();
    }
  }

  /** Ends every reader that waits for more. */
  stop(): void {
    this.#stopped = true;
    this.#wake();
  }

  /** Written at a known place, so that a write that failed half-way is overwritten by the next one. */
  async #append(type: JobEvent['type'], data: JobEvent['data'], durable: boolean): Promise<void> {
    const event: JobEvent = { id: this.#lastId + 1, at: new Date().toISOString(), type, data };
    const bytes = Buffer.from(`${JSON.stringify(event)}\n`);
    const begins = this.#announced === 0;
    const file = await open(this.#path, begins ? 'w' : 'r+');
    try {
      for (let done = 0; done < bytes.length; ) {
        const { bytesWritten } = await file.write(bytes, done, bytes.length - done, this.#announced + done);
        done += bytesWritten;
      }
      if (durable) await file.sync();
    } catch (error) {
      await file.truncate(this.#announced).catch(() => undefined);
      throw error;
    } finally {
      await file.close();
    }
    if (durable && begins) await syncFolder(dirname(this.#path));
    this.#lastId = event.id;
    this.#announced += bytes.length;
    this.#wake();
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work, work);
    this.#turn = done.catch(() => undefined);
    return done;
  }

  #change(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#waiting.delete(wake);
        signal.removeEventListener('abort', wake);
        resolve();
      };
      this.#waiting.add(wake);
      signal.addEventListener('abort', wake, { once: true });
    });
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }
}

function stateOf(data: JobEvent['data']): string {
  return `${data.state} ${data.attempts}`;
}

/**
 * The whole lines of a file between two places, with the place where each ends; `event` is null for a line that is not
 * an event (a disk fault).
 */
async function* lines(
  file: FileHandle,
  limit: () => number,
  from = 0,
): AsyncGenerator<{ event: JobEvent | null; end: number }, void, undefined> {
  let rest = Buffer.alloc(0);
  let position = from;
  while (position < limit()) {
    const chunk = Buffer.alloc(Math.min(CHUNK, limit() - position));
    const { bytesRead } = await file.read(chunk, 0, chunk.length, position);
    if (bytesRead === 0) throw new Error('the event log is shorter than it was');
    position += bytesRead;
    rest = Buffer.concat([rest, chunk.subarray(0, bytesRead)]);
    let start = 0;
    for (let stop = rest.indexOf(NEWLINE); stop >= 0; stop = rest.indexOf(NEWLINE, start)) {
      yield { event: parseEvent(rest.toString('utf8', start, stop)), end: position - rest.length + stop + 1 };
      start = stop + 1;
    }
    rest = rest.subarray(start);
  }
}

function parseEvent(line: string): JobEvent | null {
  try {
    const event = JSON.parse(line) as JobEvent;
    return Number.isInteger(event.id) && typeof event.data?.state === 'string' ? event : null;
  } catch {
    return null;
  }
}

async function openIfThere(path: string): Promise<FileHandle | null> {
  try {
    return await open(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

async function truncate(path: string, size: number): Promise<void> {
  const file = await open(path, 'r+');
  try {
    await file.truncate(size);
    await file.sync();
  } finally {
    await file.close();
  }
}
