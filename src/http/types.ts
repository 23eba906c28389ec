import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type {
  FastifyBaseLogger,
  FastifyInstance,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault,
} from 'fastify';
import type { Span } from '../telemetry/tracer.js';
import type { BodyShare } from './plugins/buffered-bytes.js';

/** The Fastify instance that every plugin and route of this project takes: request types follow from the schemas. */
export type App = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>;

/** What logs and metrics say of a request, filled in as it becomes known. */
export interface RequestFacts {
  /** The problem's code, where the answer is one. */
  code?: string;
  model?: string;
  version?: number;
  bits?: number;
  activationBits?: number;
  energyUj?: number;
  /** Of the trace that the request belongs to, where it does: its id, and the `traceparent` of what the request causes. */
  trace?: { id: string; parent: string };
}

declare module 'fastify' {
  interface FastifyRequest {
    facts: RequestFacts;
    /** Where the request is traced. */
    span?: Span;
    /** When the span began, of `performance.now()`. */
    spanStart: number;
    /** Where its body counts among those that are buffered. */
    bodyShare?: BodyShare;
  }
  interface FastifyContextConfig {
    /** Content types of the body that the route takes, as a 415 lists them. */
    accepts?: readonly string[];
    /** The route documents a body and does without. */
    bodyOptional?: boolean;
    /** The route takes compressed bodies, and bounds what they become. */
    decompresses?: boolean;
    /** The body is an upload of any length, read as it arrives. */
    upload?: boolean;
  }
}
