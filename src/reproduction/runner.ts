import { type Outcome, Records, type RunRecord } from './record.js';
import { type BaseVersion, baseRun, checkStudy, commandFor, methodRun, type Run, type Study } from './study.js';

/** Trains and measures one run: the one part that takes hours. */
export type Execute = (run: Run, base: BaseVersion | null) => Promise<Outcome>;

export interface StudyHooks {
  onBegin?(run: Run): void;
  onDone?(record: RunRecord, found: boolean): void;
  onFailure?(run: Run, error: Error): void;
}

/** For the records. */
export interface Provenance {
  commit: string | null;
  /** The command that runs the study. */
  reproduction: string;
  /** The folder of the versions, as commands name it. */
  models: string;
}

export interface StudyResult {
  records: RunRecord[];
  failures: { run: Run; error: Error }[];
}

/**
 * Runs what a study still lacks. Each finished run is a record on disk at once, so that a study that was killed goes on with what is
 * missing. A run that fails is told and passed over; the next call tries it again.
 * @throws ServiceError for a request that no training takes; Error for a record of other settings: both before any run
 */
export async function runStudy(
  study: Study,
  execute: Execute,
  provenance: Provenance,
  hooks: StudyHooks = {},
): Promise<StudyResult> {
  checkStudy(study);
  const store = new Records(study.folder);
  await verify(study, store);
  const result: StudyResult = { records: [], failures: [] };

  const finish = async (run: Run, from: RunRecord | null): Promise<RunRecord | undefined> => {
    const base = from?.version ?? null;
    let record = await store.find(run, base, study.testLimit);
    const found = record !== undefined;
    if (record === undefined) {
      hooks.onBegin?.(run);
      try {
        record = recordOf(study, run, from, await execute(run, base), provenance);
      } catch (error) {
        result.failures.push({ run, error: error as Error });
        hooks.onFailure?.(run, error as Error);
        return undefined;
      }
      await store.write(record);
    }
    result.records.push(record);
    hooks.onDone?.(record, found);
    return record;
  };

  for (const seed of study.seeds) {
    let base: RunRecord | null = null;
    if (study.mode === 'fine-tuned') {
      base = (await finish(baseRun(study, seed), null)) ?? null;
      if (base === null) continue;
    }
    for (const method of study.methods) await finish(methodRun(study, seed, method, base?.version ?? null), base);
  }
  return result;
}

/** Finds records of other settings before hours are spent. */
async function verify(study: Study, store: Records): Promise<void> {
  for (const seed of study.seeds) {
    let base: BaseVersion | null = null;
    if (study.mode === 'fine-tuned') {
      const record = await store.find(baseRun(study, seed), null, study.testLimit);
      if (record === undefined) continue;
      base = record.version;
    }
    for (const method of study.methods) await store.find(methodRun(study, seed, method, base), base, study.testLimit);
  }
}

function recordOf(
  study: Study,
  run: Run,
  base: RunRecord | null,
  outcome: Outcome,
  { commit, reproduction, models }: Provenance,
): RunRecord {
  const { dataset, net, width, mode } = study;
  return {
    format: 'bitdial-reproduction/1',
    created: new Date().toISOString(),
    dataset,
    net,
    width,
    mode,
    seed: run.seed,
    method: run.method,
    // A base that was given has had the epochs that its history has.
    epochs: run.body === null ? outcome.history.length : run.epochs,
    base_epochs: base?.epochs ?? 0,
    test_limit: study.testLimit,
    base: base?.version ?? null,
    command: commandFor(run, models),
    reproduction,
    commit,
    body: run.body,
    given: run.given,
    ...outcome,
  };
}
