import type { PredictionService } from '../../serving/request.js';
import type { ModelCatalog } from '../parts.js';
import { JSON_TYPE } from '../plugins/bodies.js';
import { ModelParams, NoQuery } from '../schemas/common.js';
import { CurrentBody, currentResponses, dropResponses } from '../schemas/models.js';
import type { App } from '../types.js';

const security = [{ adminToken: [] }];

export function adminModelRoutes(
  app: App,
  { service, store }: { service: PredictionService; store: ModelCatalog },
): void {
  app.post(
    '/models/:model/current',
    {
      schema: {
        operationId: 'setCurrent',
        tags: ['admin'],
        summary: 'Make a version current: roll back or forward',
        security,
        params: ModelParams,
        querystring: NoQuery,
        body: CurrentBody,
        response: currentResponses,
      },
      config: { accepts: [JSON_TYPE] },
    },
    async (request) => {
      const { model, version, digest } = await store.setCurrent(request.params.model, request.body.version);
      request.log.info({ model, version }, 'current version set');
      return { model, version, digest };
    },
  );

  app.delete(
    '/models/:model/variants',
    {
      schema: {
        operationId: 'dropVariants',
        tags: ['admin'],
        summary: 'Drop the resident variants of a model that are not in use',
        security,
        params: ModelParams,
        querystring: NoQuery,
        response: dropResponses,
      },
    },
    async (request) => service.dropVariants(request.params.model),
  );
}
