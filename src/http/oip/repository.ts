/**
 * Which models this replica serves to the protocol: the model repository extension. Every model is, until it is unloaded;
 * nothing of this is kept over a restart, and no other replica or protocol knows of it.
 */
import { ServiceError } from '../../errors.js';
import type { PredictionService } from '../../serving/request.js';
import type { ModelCatalog } from '../parts.js';

export interface IndexEntry {
  name: string;
  version: string;
  state: 'READY' | 'UNAVAILABLE';
  /** Why it is in that state; empty where it is ready. */
  reason: string;
}

const UNLOADED = 'unloaded';

export class Repository {
  readonly #service: Pick<PredictionService, 'warmUp' | 'dropVariants'>;
  readonly #store: ModelCatalog;
  readonly #unloaded = new Set<string>();

  constructor(service: Pick<PredictionService, 'warmUp' | 'dropVariants'>, store: ModelCatalog) {
    this.#service = service;
    this.#store = store;
  }

  /** Every version of every model; with `readyOnly` those that answer. */
  async index(readyOnly: boolean): Promise<IndexEntry[]> {
    const entries: IndexEntry[] = [];
    for (const { name, versions } of await this.#store.models()) {
      const unloaded = this.#unloaded.has(name);
      if (unloaded && readyOnly) continue;
      const state = unloaded ? 'UNAVAILABLE' : 'READY';
      for (const { version } of versions) {
        entries.push({ name, version: String(version), state, reason: unloaded ? UNLOADED : '' });
      }
    }
    return entries;
  }

  /**
   * Makes the model's default variant resident; it answers from then on.
   * @throws ServiceError model_not_found, and whatever the build throws, after which the model is as it was
   */
  async load(model: string): Promise<void> {
    await this.#service.warmUp(model);
    this.#unloaded.delete(model);
  }

  /**
   * Takes no more requests for the model and drops its variants; those in use go when their requests end.
   * @throws ServiceError model_not_found
   */
  async unload(model: string): Promise<void> {
    await this.#store.get(model);
    this.#unloaded.add(model);
    await this.#service.dropVariants(model);
  }

  /** @throws ServiceError not_ready where the model was unloaded */
  check(model: string): void {
    if (!this.#unloaded.has(model)) return;
    const detail = `model "${model}" was unloaded here; POST /v2/repository/models/${model}/load loads it`;
    throw new ServiceError('not_ready', detail, { model });
  }

  /** To be called when a request ends: it may have been the last that kept a variant of an unloaded model. */
  async ended(model: string): Promise<void> {
    if (this.#unloaded.has(model)) await this.#service.dropVariants(model);
  }
}
