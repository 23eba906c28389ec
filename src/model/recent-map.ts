/**
 * A map in the order of use, the latest last. Moving an entry costs a map of V8's a part of its table in the old generation,
 * which only a full collection takes back: one that is the latest already stays where it is.
 */
export class RecentMap<K, V> extends Map<K, V> {
  #latest: K | undefined;

  override set(key: K, value: V): this {
    if (!this.has(key)) this.#latest = key;
    return super.set(key, value);
  }

  /** Puts the entry last. */
  touch(key: K, value: V): void {
    if (this.#latest !== key) this.delete(key);
    this.set(key, value);
  }
}
