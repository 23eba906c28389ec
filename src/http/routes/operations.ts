import type { Metrics } from '../plugins/metrics.js';
import { documentResponses, metricsResponses } from '../schemas/operations.js';
import type { App } from '../types.js';

export function metricsRoute(app: App, { metrics }: { metrics: Metrics }): void {
  app.get(
    '/metrics',
    {
      schema: {
        operationId: 'metrics',
        tags: ['operations'],
        summary: 'Prometheus metrics',
        response: metricsResponses,
      },
    },
    async (_request, reply) => reply.type(metrics.registry.contentType).send(await metrics.text()),
  );
}

export function documentRoute(app: App): void {
  app.get(
    '/openapi.json',
    {
      schema: {
        operationId: 'openapi',
        tags: ['operations'],
        summary: 'This document',
        response: documentResponses,
      },
    },
    async () => app.swagger(),
  );
}
