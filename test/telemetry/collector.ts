/** An OTLP/HTTP collector on a free port that keeps what it gets. */
import { EventEmitter, once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import type { TestContext } from 'node:test';

export interface Value {
  stringValue?: string;
  intValue?: number | string;
  doubleValue?: number;
  boolValue?: boolean;
}
type Attributes = { key: string; value: Value }[];

export interface OtlpSpan {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  kind: number;
  startTimeUnixNano: string;
  endTimeUnixNano: string;
  attributes: Attributes;
  status: { code: number };
  links: { traceId: string; spanId: string }[];
}

interface Post {
  path: string;
  type: string;
  headers: Record<string, string | string[] | undefined>;
  bytes: Buffer;
}

export class Collector {
  readonly posts: Post[] = [];
  url = '';
  /** What it answers. */
  status = 200;
  readonly #news = new EventEmitter();

  static async start(t: TestContext): Promise<Collector> {
    const collector = new Collector();
    const server = createServer(async (request, response) => {
      const bytes = await buffer(request);
      const { url: path = '', headers } = request;
      const type = headers['content-type'] ?? '';
      collector.posts.push({ path, type, headers, bytes });
      // an empty ExportServiceResponse is empty in protobuf, too
      response.writeHead(collector.status, { 'content-type': type }).end(type === 'application/json' ? '{}' : '');
      collector.#news.emit('post');
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.after(() => {
      server.closeAllConnections();
      server.close();
    });
    collector.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    return collector;
  }

  /** Waits for a post that the test is looking for. */
  async until(found: () => boolean): Promise<void> {
    while (!found()) await once(this.#news, 'post');
  }

  /** Every span that came as JSON. */
  get spans(): OtlpSpan[] {
    return this.#json('/v1/traces', 'resourceSpans').flatMap((r) =>
      r.scopeSpans.flatMap((s: { spans: OtlpSpan[] }) => s.spans),
    );
  }

  /** Attributes of the resource of the first spans. */
  get resource(): Record<string, unknown> {
    return plain(this.#json('/v1/traces', 'resourceSpans')[0].resource.attributes);
  }

  get metrics(): { name: string; [kind: string]: unknown }[] {
    return this.#json('/v1/metrics', 'resourceMetrics').flatMap((r) =>
      r.scopeMetrics.flatMap((s: { metrics: [] }) => s.metrics),
    );
  }

  #json(path: string, member: string) {
    const posts = this.posts.filter((p) => p.path === path && p.type === 'application/json');
    return posts.flatMap((p) => JSON.parse(p.bytes.toString())[member]);
  }
}

/** Attributes as an object of plain values. */
export function plain(attributes: Attributes): Record<string, unknown> {
  return Object.fromEntries(
    attributes.map(({ key, value }) => {
      const { stringValue, boolValue, intValue, doubleValue } = value;
      return [key, stringValue ?? boolValue ?? (intValue !== undefined ? Number(intValue) : doubleValue)];
    }),
  );
}
