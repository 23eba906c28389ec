import type { PredictionService } from '../../serving/request.js';
import type { ModelCatalog } from '../parts.js';
import { JSON_TYPE } from '../plugins/bodies.js';
import { ModelParams, NoQuery } from '../schemas/common.js';
import {
  CurrentBody,
  currentResponses,
  dropResponses,
  LabelBody,
  LabelParams,
  labelResponses,
  removeLabelResponses,
} from '../schemas/models.js';
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

  app.post(
    '/models/:model/labels',
    {
      schema: {
        operationId: 'setLabel',
        tags: ['admin'],
        summary: 'Put a label on a version: stable, canary …',
        security,
        params: ModelParams,
        querystring: NoQuery,
        body: LabelBody,
        response: labelResponses,
      },
      config: { accepts: [JSON_TYPE] },
    },
    async (request) => {
      const { label } = request.body;
      const { model, version, digest } = await store.setLabel(request.params.model, label, request.body.version);
      request.log.info({ model, label, version }, 'label set');
      return { model, label, version, digest };
    },
  );

  app.delete(
    '/models/:model/labels/:label',
    {
      schema: {
        operationId: 'removeLabel',
        tags: ['admin'],
        summary: 'Take a label away',
        security,
        params: LabelParams,
        querystring: NoQuery,
        response: removeLabelResponses,
      },
    },
    async (request, reply) => {
      const { model, label } = request.params;
      await store.removeLabel(model, label);
      request.log.info({ model, label }, 'label removed');
      return reply.code(204).send();
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
