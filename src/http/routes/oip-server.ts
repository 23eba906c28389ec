import { ServiceError } from '../../errors.js';
import type { Readiness } from '../plugins/readiness.js';
import { NoQuery } from '../schemas/common.js';
import { inferenceLiveResponses, inferenceReadyResponses, serverResponses } from '../schemas/oip.js';
import type { App } from '../types.js';

const tags = ['open-inference-protocol'];
/** By the names that Triton gives them. */
const EXTENSIONS = [
  'binary_tensor_data',
  'classification',
  'model_configuration',
  'model_repository',
  'model_repository(unload_dependents)',
  'parameters',
  'statistics',
];

export function inferenceServerRoutes(
  app: App,
  { readiness, version }: { readiness: Readiness; version: string },
): void {
  const querystring = NoQuery;
  app.get(
    '/v2',
    {
      schema: {
        operationId: 'inferenceServer',
        tags,
        summary: 'Name, version and extensions of the server',
        querystring,
        response: serverResponses,
      },
    },
    async () => ({ name: 'bitdial', version, extensions: EXTENSIONS }),
  );

  app.get(
    '/v2/health/live',
    {
      schema: {
        operationId: 'inferenceLive',
        tags,
        summary: 'Whether the process answers',
        querystring,
        response: inferenceLiveResponses,
      },
    },
    async () => ({ live: true }),
  );

  app.get(
    '/v2/health/ready',
    {
      schema: {
        operationId: 'inferenceReady',
        tags,
        summary: 'Whether predictions can be sent here',
        querystring,
        response: inferenceReadyResponses,
      },
    },
    async () => {
      if (readiness.state === 'ready') return { ready: true };
      const detail = `expected a warm default variant, got: ${readiness.reason}`;
      throw new ServiceError('not_ready', detail, { retry_after_s: 1 });
    },
  );
}
