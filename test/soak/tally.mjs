/** What was sent and how it was answered, by kind; what should not have been is kept, a few of each. */
const KEPT = 30;

export class Tally {
  constructor() {
    this.kinds = {};
    this.wrong = [];
    this.wrongs = 0;
    this.server = {};
    this.busy = {};
  }

  /** @param right whether this is an answer that the request deserves; 503 is one to every request */
  add(kind, status, right, what) {
    this.kinds[kind] ??= {};
    const counts = this.kinds[kind];
    counts[status] = (counts[status] ?? 0) + 1;
    if (status >= 500) this.server[status] = (this.server[status] ?? 0) + 1;
    if (status === 503) {
      const why = /"code":"(\w+)"/.exec(what)?.[1] ?? 'unknown';
      this.busy[why] = (this.busy[why] ?? 0) + 1;
    }
    if (right || status === 503) return;
    this.wrongs++;
    if (this.wrong.length < KEPT) this.wrong.push({ kind, status, what: String(what).slice(0, 300) });
  }

  get sent() {
    return Object.values(this.kinds).reduce((sum, counts) => sum + Object.values(counts).reduce((a, b) => a + b, 0), 0);
  }
}
