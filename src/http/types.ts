import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type {
  FastifyBaseLogger,
  FastifyInstance,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault,
} from 'fastify';

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
}

declare module 'fastify' {
  interface FastifyRequest {
    facts: RequestFacts;
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
