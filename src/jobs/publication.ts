import type { Manifest } from '../model/manifest.js';
import type { NewVersion, Version } from '../model/store.js';
import type { Job, JobResult } from './job.js';
import type { Logger } from './logger.js';

/** What of the model store a look-up needs. */
export interface PublicationStore {
  models(): Promise<{ name: string; current: number; versions: { version: number }[] }[]>;
  get(model: string, version?: number): Promise<Version>;
  setCurrent(model: string, version: number): Promise<Version>;
  /** Forgets what it remembers of a model: another thread has published. */
  refresh(model: string): void;
}

/** The slack for a clock that was set back between the job's start and its publication. */
const CLOCK_SLACK_MS = 86_400_000;

/**
 * Publishing and marking the job as done are two writes, and a kill can come between them. So a version carries the id
 * of the job that made it: the id becomes visible in the same rename as the version, and before a job is run again it
 * is looked up here.
 */
export function markedWithJob(version: NewVersion, id: string): NewVersion {
  const { training } = version.manifest;
  if (training === null) throw new Error('a trained version has a training record');
  return { ...version, manifest: { ...version.manifest, training: { ...training, job: id } } };
}

/**
 * The result of a job that has published, or null. Makes the version current where the kill came before that; a version
 * that cannot be read cannot be the one that is looked for, and is left out with a warning.
 */
export async function findPublication(store: PublicationStore, job: Job, logger: Logger): Promise<JobResult | null> {
  const { model } = job.request;
  store.refresh(model);
  const entry = (await store.models()).find((m) => m.name === model);
  if (entry === undefined) return null;
  const oldest = Date.parse(job.created_at) - CLOCK_SLACK_MS;
  for (const { version: number } of [...entry.versions].sort((a, b) => b.version - a.version)) {
    let version: Version;
    try {
      version = await store.get(model, number);
    } catch (error) {
      logger.warn({ err: error, model, version: number }, 'a version cannot be read');
      continue;
    }
    if (version.manifest.training?.job === job.id) {
      if (entry.current < number) await store.setCurrent(model, number);
      return resultOf(version);
    }
    if (Date.parse(version.manifest.created) < oldest) return null;
  }
  return null;
}

/** What the job's record says of a published version. */
export function resultOf(version: Version): JobResult {
  const { model, version: number, digest, manifest } = version;
  return { model, version: number, digest, accuracies: accuraciesOf(manifest) };
}

export function accuraciesOf(manifest: Pick<Manifest, 'precisions'>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(manifest.precisions).flatMap(([key, { accuracy }]) => (accuracy === null ? [] : [[key, accuracy]])),
  );
}
