import { decompress } from '../compression.js';
import type { App } from '../types.js';

/**
 * The scope's routes take a body of any content type or none, compressed or not, as a Buffer. Which kind it is says the
 * protocol, as with Triton: its clients send no content type.
 */
export function inferenceBodies(app: App, maxBytes: number): void {
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (request, body, done) => {
    decompress(body as Buffer, request.headers['content-encoding'], maxBytes, done);
  });
}
