/** Milliseconds of a window. */
const WINDOW_MS = 60_000;
/** Clients that are counted at most; past it the one that came first is forgotten. */
const MAX_CLIENTS = 10_000;

interface Window {
  count: number;
  ends: number;
  /** What was counted, where each counts once. */
  seen?: Set<string>;
}

/** Counts something by client, in windows of a minute that begin with a client's first. */
export class ClientWindow {
  readonly limit: number;
  readonly #now: () => number;
  readonly #windows = new Map<string, Window>();

  /** @param limit that a client may have in a window @param now milliseconds */
  constructor(limit: number, now: () => number = () => performance.now()) {
    this.limit = limit;
    this.#now = now;
  }

  /** Seconds until the client may go on, where it has used up its limit; else 0. */
  waitSeconds(ip: string): number {
    const window = this.#windows.get(clientKey(ip));
    if (window === undefined || window.count < this.limit) return 0;
    return Math.max(0, window.ends - this.#now()) / 1000;
  }

  /** @param item where it counts only once in a window */
  add(ip: string, item?: string): void {
    const key = clientKey(ip);
    const now = this.#now();
    const window = this.#windows.get(key);
    if (window !== undefined && window.ends > now) {
      // past the limit nothing is told apart any more, so that no set grows beyond it
      if (item !== undefined && (window.count >= this.limit || window.seen?.has(item))) return;
      window.count++;
      if (item !== undefined) window.seen?.add(item);
      return;
    }
    // set anew, so that the map is in the order in which windows end
    this.#windows.delete(key);
    this.#windows.set(key, { count: 1, ends: now + WINDOW_MS, ...(item !== undefined && { seen: new Set([item]) }) });
    for (const [oldest, { ends }] of this.#windows) {
      if (ends > now && this.#windows.size <= MAX_CLIENTS) break;
      this.#windows.delete(oldest);
    }
  }

  /** Clients that are counted now. */
  get size(): number {
    return this.#windows.size;
  }
}

/** What counts as one client: an IPv4 address, or the /64 that an IPv6 address is one of as many as anyone likes. */
export function clientKey(ip: string): string {
  if (!ip.includes(':')) return ip;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(ip);
  if (mapped) return mapped[1];
  const [head, tail] = ip.split('::').map((part) => (part === '' ? [] : part.split(':')));
  const zeros = tail === undefined ? [] : Array<string>(Math.max(0, 8 - head.length - tail.length)).fill('0');
  const groups = [...head, ...zeros, ...(tail ?? [])].slice(0, 4);
  return `${groups.map((group) => Number.parseInt(group, 16).toString(16)).join(':')}::/64`;
}
