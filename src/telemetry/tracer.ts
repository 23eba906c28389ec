import type { IncomingHttpHeaders } from 'node:http';
import type { TraceContext } from './trace-context.js';

/** What is said of a span, by attribute name; undefined is left out. */
export type Attributes = Record<string, string | number | boolean | undefined>;

/** One unit of work in a trace. All times are of `performance.now()`, in milliseconds. */
export interface Span {
  readonly context: TraceContext;
  /** False where the sampler leaves the trace out: its ids are real, what is said of it goes nowhere. */
  readonly recording: boolean;
  /** A part of it, told when it has ended; `facts` become attributes of this project, an error its status. */
  onStep(name: string, startMs: number, endMs: number, facts: Attributes, error?: unknown): void;
  /** @param error short and stable, for the attribute `error.type`; its presence makes the status an error */
  end(attributes: Attributes, error?: string): void;
}

export interface Tracer {
  /** Span of a request that came in; continues the trace of its headers. */
  request(name: string, headers: IncomingHttpHeaders, attributes: Attributes): Span;
  /** First span of a trace of its own, linked to what caused it. */
  root(name: string, attributes: Attributes, cause: TraceContext | null): Span;
}

/** Facts as attributes under this project's name: `activationBits` becomes `bitdial.activation_bits`. */
export function attributesOf(facts: Attributes): Attributes {
  const attributes: Attributes = {};
  for (const [key, value] of Object.entries(facts)) {
    if (value !== undefined) attributes[`bitdial.${key.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`)}`] = value;
  }
  return attributes;
}
