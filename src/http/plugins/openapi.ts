import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import { ServiceError } from '../../errors.js';
import { inferenceErrors, problems } from '../schemas/responses.js';
import type { App } from '../types.js';
import { UNLIMITED } from './rate-limit.js';

const DESCRIPTION = `One stored set of float weights, served at any bit-width the caller asks for.
\`POST /predict?bits=4\` names the width; \`?max_energy_uj=2\` names a budget instead and the service finds the best width
within it. Errors are RFC 9457 problem documents with a stable \`code\`.`;

const TOO_MANY = new ServiceError('too_many_requests', 'client: expected at most 600 requests in a minute, got more', {
  expected: 'at most 600 requests in a minute',
  actual: 'more',
  retry_after_s: 12.5,
});

/** Collects the schemas of every route that is registered after it; \`/docs\` shows the document. */
export async function openapi(app: App, version: string): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'bitdial',
        version,
        description: DESCRIPTION,
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      servers: [{ url: '/' }],
      tags: [
        { name: 'predict', description: 'Answers, at the precision that the caller chooses' },
        {
          name: 'open-inference-protocol',
          description: 'The same for clients of KServe and Triton: version 2 over HTTP',
        },
        { name: 'tensorflow-serving', description: 'The same for clients of TensorFlow Serving: its REST API' },
        { name: 'models', description: 'What is served, and at which precisions' },
        { name: 'admin', description: 'Training and publishing; takes the admin token' },
        { name: 'operations', description: 'Health, metrics, this document' },
      ],
      components: {
        securitySchemes: {
          adminToken: { type: 'http', scheme: 'bearer', description: 'ADMIN_TOKEN, or the one printed at start' },
        },
      },
    },
    // RATE_LIMIT may refuse any of them
    transform: ({ schema, url }) => {
      if (!schema?.response || UNLIMITED.test(url)) return { schema, url };
      const refusal = /^\/v[12](?:\/|$)/.test(url) ? inferenceErrors(TOO_MANY) : problems(TOO_MANY);
      const response = { ...refusal, ...(schema.response as object) };
      return { schema: { ...schema, response }, url };
    },
    refResolver: { buildLocalReference: (json, _base, _fragment, i) => String(json.$id ?? `def-${i}`) },
  });
  await app.register(swaggerUi, {
    routePrefix: '/docs',
    uiConfig: { validatorUrl: null },
    staticCSP: true,
    // its default would turn every asset into https, which a service behind no proxy does not speak
    transformStaticCSP: (policy) =>
      policy.replace('upgrade-insecure-requests;', '').replaceAll(' validator.swagger.io', ''),
  });
}
