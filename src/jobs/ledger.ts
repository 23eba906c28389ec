import { EventLog } from './event-log.js';
import { eventData, isTerminal, type Job, type JobEvent } from './job.js';
import type { Journal } from './journal.js';
import type { Logger } from './logger.js';
import type { JobRecord } from './record.js';
import { jobNotFound } from './submission.js';

/**
 * All jobs in memory, over the journal and the event logs on disk. Every change goes to the journal first, then to the
 * event log, and only then can anybody see it.
 */
export class Ledger {
  readonly #journal: Journal;
  readonly #logger: Logger;
  readonly #records = new Map<string, JobRecord>();
  /** Logs of unfinished jobs, and of those that are being opened. */
  readonly #logs = new Map<string, Promise<EventLog>>();
  #turn: Promise<unknown> = Promise.resolve();
  #stopped = false;

  private constructor(journal: Journal, logger: Logger) {
    this.#journal = journal;
    this.#logger = logger;
  }

  static async open(journal: Journal, logger: Logger): Promise<Ledger> {
    const ledger = new Ledger(journal, logger);
    for (const record of await journal.load(logger)) ledger.#records.set(record.job.id, record);
    return ledger;
  }

  /** In no order. */
  records(): JobRecord[] {
    return [...this.#records.values()];
  }

  /** ServiceError job_not_found. */
  get(id: string): JobRecord {
    const record = this.#records.get(id);
    if (record === undefined) throw jobNotFound(id);
    return record;
  }

  /** Accepts a new job; when it resolves the job survives a kill. */
  async add(record: JobRecord): Promise<void> {
    await this.#journal.save(record);
    this.#records.set(record.job.id, record);
    await this.#announce(record.job);
  }

  /**
   * Changes a job, one change at a time; `change` sees the newest record and gives the next one, or null for none.
   * Resolves to the record as it is afterwards, once that is durable and announced.
   */
  update(id: string, change: (record: JobRecord) => JobRecord | null): Promise<JobRecord> {
    const done = this.#turn.then(async () => {
      const before = this.get(id);
      // A kill may have come between journal and log: the log has to hold the state before this one first.
      await this.#log(id).catch(() => undefined);
      const after = change(before);
      if (after === null) return before;
      await this.#journal.save(after);
      this.#records.set(id, after);
      if (after.job.state !== before.job.state) await this.#announce(after.job);
      if (isTerminal(after.job.state)) await this.#dropCheckpoint(id);
      return after;
    });
    this.#turn = done.catch(() => undefined);
    return done;
  }

  /** Where the trainer keeps what a next attempt goes on from; removed when the job ends. */
  checkpointPath(id: string): string {
    return this.#journal.checkpointPath(id);
  }

  /** Announces how far a running job is; a log that cannot be written costs only that. */
  async announceProgress(job: Job): Promise<void> {
    try {
      await (await this.#log(job.id)).appendProgress(eventData(job));
    } catch (error) {
      this.#logger.warn({ err: error, job: job.id }, 'the progress of a job cannot be logged');
    }
  }

  async *events(id: string, afterId: number, signal: AbortSignal): AsyncGenerator<JobEvent, void, undefined> {
    const log = await this.#log(id);
    yield* log.read(afterId, signal);
  }

  /** Forgets the oldest finished jobs but for so many; gives the ones that are gone. */
  async prune(keep: number): Promise<JobRecord[]> {
    const finished = this.records().filter((r) => isTerminal(r.job.state));
    if (finished.length <= keep) return [];
    finished.sort((a, b) => (lastChange(a) < lastChange(b) ? 1 : -1));
    const gone = finished.slice(keep);
    for (const { job } of gone) {
      this.#records.delete(job.id);
      await this.#journal.remove(job.id);
    }
    return gone;
  }

  /** Ends all who follow events, now and later. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#turn;
    for (const log of await Promise.allSettled(this.#logs.values())) if (log.status === 'fulfilled') log.value.stop();
  }

  /** One that stays is removed at the next start. */
  async #dropCheckpoint(id: string): Promise<void> {
    await this.#journal.removeCheckpoint(id).catch((error) => {
      this.#logger.warn({ err: error, job: id }, 'the checkpoint of a job that ended cannot be removed');
    });
  }

  /** The journal holds the change already: a log that cannot be written now is put right when it is next opened. */
  async #announce(job: Job): Promise<void> {
    try {
      await (await this.#log(job.id)).appendState(eventData(job));
    } catch (error) {
      this.#logger.error({ err: error, job: job.id }, 'the state of a job cannot be logged');
      this.#logs.delete(job.id);
    }
    if (isTerminal(job.state)) this.#logs.delete(job.id);
  }

  /** Opens a log once, and adds the state that a kill between journal and log left out. */
  #log(id: string): Promise<EventLog> {
    let log = this.#logs.get(id);
    if (log === undefined) {
      log = EventLog.open(this.#journal.eventsPath(id)).then(async (opened) => {
        await opened.appendState(eventData(this.get(id).job));
        if (this.#stopped) opened.stop();
        return opened;
      });
      this.#logs.set(id, log);
      const forget = (): void => {
        const record = this.#records.get(id);
        if (record === undefined || isTerminal(record.job.state)) this.#logs.delete(id);
      };
      log.then(forget, () => this.#logs.delete(id));
    }
    return log;
  }
}

function lastChange({ job }: JobRecord): string {
  return `${job.finished_at} ${job.id}`;
}
