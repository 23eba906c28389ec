import type { Examples, Split } from './datasets/dataset.js';

/** Bytes of images that are kept from one pass to the next. */
const KEPT_BYTES = 64 << 20;

/** Some images of a split, batch after batch; what fits into memory is read once for all passes. */
export class ImageBatches {
  readonly count: number;
  readonly #split: Split;
  readonly #first: number;
  readonly #size: number;
  readonly #kept = new Map<number, Examples>();
  #bytes = 0;

  /** @param size images of a batch */
  constructor(split: Split, first: number, count: number, size: number) {
    this.#split = split;
    this.#first = first;
    this.#size = size;
    this.count = count;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Examples> {
    for (let from = 0; from < this.count; from += this.#size) {
      const kept = this.#kept.get(from);
      if (kept) {
        yield kept;
        continue;
      }
      const length = Math.min(this.#size, this.count - from);
      const examples = await this.#split.batch(Uint32Array.from({ length }, (_, i) => this.#first + from + i));
      this.#bytes += examples.input.byteLength;
      if (this.#bytes <= KEPT_BYTES) this.#kept.set(from, examples);
      yield examples;
    }
  }
}
