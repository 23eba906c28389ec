/** Reads request bodies: only what a scope's routes take, never more than MAX_BODY_BYTES, and JSON strictly. */
import type { Readable } from 'node:stream';
import type { FastifyRequest } from 'fastify';
import { ServiceError } from '../../errors.js';
import { decompress } from '../compression.js';
import type { App } from '../types.js';
import { readJson } from './json.js';
import { readBody } from './read-body.js';
import { show } from './validation.js';

export const JSON_TYPE = 'application/json';
export const RAW_TYPE = 'application/octet-stream';
export const IMAGE_TYPES = 'image/*';
export const ARCHIVE_TYPES = ['application/x-tar', 'application/gzip'] as const;

/** On the root: no scope reads a body that it did not ask for, and a route with a body schema gets a body. */
export function strictBodies(app: App): void {
  app.removeAllContentTypeParsers();
  app.decorateRequest('bodyShare');
  app.addHook('onRequest', async (request) => refuseEncoding(request));
  app.addHook('preValidation', async (request) => {
    const { schema, config } = request.routeOptions;
    if (schema?.body && request.body === undefined && !config?.bodyOptional) throw emptyBody(request);
  });
}

/** The scope's routes take JSON. */
export function jsonBodies(app: App): void {
  wholeBodies(app, JSON_TYPE, (request, bytes) => {
    // clients that put the header on every request send it with DELETE, too
    const none = bytes.length === 0 && !request.routeOptions.schema?.body;
    return none ? undefined : readJson(notEmpty(request, bytes));
  });
}

/**
 * The scope's routes take a body of any content type or none, compressed or not, of at most so many bytes: which kind it is
 * says the protocol, whose clients send a content type of another kind, or none.
 * @param read makes of the bytes what the routes get; it may throw
 */
export function anyBodies(app: App, maxBytes: number, read: (bytes: Buffer) => unknown = (bytes) => bytes): void {
  app.addContentTypeParser('*', (request: FastifyRequest, payload: Readable, done: Done) => {
    readBody(request, payload, maxBytes, (fault, body) => {
      if (fault) return done(fault);
      decompress(
        body as Buffer,
        request.headers['content-encoding'],
        { maxBytes, share: request.bodyShare },
        (error, bytes) => {
          if (error) done(error);
          else give(done, () => read(bytes as Buffer));
        },
      );
    });
  });
}

/** The scope's routes take image files and raw pixels, as a Buffer. */
export function binaryBodies(app: App): void {
  for (const type of [/^image\//i, RAW_TYPE]) wholeBodies(app, type, notEmpty);
}

/** Fastify's own way of it keeps each piece of a body, however small, in an object of its own until the last one is there. */
function wholeBodies(app: App, type: string | RegExp, read: (request: FastifyRequest, bytes: Buffer) => unknown): void {
  const maxBytes = app.initialConfig.bodyLimit as number;
  app.addContentTypeParser(type, (request: FastifyRequest, payload: Readable, done: Done) => {
    readBody(request, payload, maxBytes, (error, bytes) => {
      if (error) done(error);
      else give(done, () => read(request, bytes as Buffer));
    });
  });
}

type Done = (error: Error | null, body?: unknown) => void;

/** What was read, or the fault that it had. */
function give(done: Done, read: () => unknown): void {
  let body: unknown;
  try {
    body = read();
  } catch (error) {
    done(error as Error);
    return;
  }
  done(null, body);
}

/** The scope's routes take archives alone, as a stream that they read as it arrives: MAX_BODY_BYTES does not bound it. */
export function archiveBodies(app: App): void {
  app.removeAllContentTypeParsers();
  for (const type of ARCHIVE_TYPES) {
    app.addContentTypeParser(type, (request, payload, done) => {
      if (request.headers['content-length'] === '0') done(emptyBody(request));
      else done(null, payload);
    });
  }
}

/** What a route takes, as an error says it. */
export function acceptedTypes(request: FastifyRequest): string {
  const accepts = request.routeOptions.config?.accepts ?? [JSON_TYPE];
  return accepts.length === 1 ? accepts[0] : `one of ${accepts.join(', ')}`;
}

function notEmpty(request: FastifyRequest, bytes: Buffer): Buffer {
  if (bytes.length === 0) throw emptyBody(request);
  return bytes;
}

function emptyBody(request: FastifyRequest): ServiceError {
  const expected = `a body (${acceptedTypes(request)})`;
  return new ServiceError('empty_body', `body: expected ${expected}, got nothing`, { expected, actual: 'nothing' });
}

/** Elsewhere nothing is decompressed, so a small body cannot become a large one. */
function refuseEncoding(request: FastifyRequest): void {
  if (request.routeOptions.config?.decompresses) return;
  const encoding = request.headers['content-encoding'];
  if (encoding === undefined || encoding.toLowerCase() === 'identity') return;
  const extra = { field: 'content-encoding', expected: 'identity', actual: show(encoding) };
  const detail = `content-encoding: expected an uncompressed body, got ${show(encoding)}`;
  throw new ServiceError('unsupported_media_type', detail, extra);
}
