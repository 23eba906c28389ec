import type { Config } from '../../config.js';
import type { PredictionService } from '../../serving/request.js';
import { modelConfig, modelMetadata } from '../oip/metadata.js';
import type { Repository } from '../oip/repository.js';
import type { Statistics } from '../oip/statistics.js';
import type { ModelCatalog } from '../parts.js';
import { NoQuery } from '../schemas/common.js';
import {
  configResponses,
  InferenceModel,
  InferenceVersion,
  metadataResponses,
  modelReadyResponses,
  statisticsResponses,
} from '../schemas/oip.js';
import type { App } from '../types.js';

interface Options {
  service: Pick<PredictionService, 'variants'>;
  store: ModelCatalog;
  repository: Repository;
  statistics: Statistics;
  config: Pick<Config, 'defaultBits' | 'maxBatch'>;
}

const tags = ['open-inference-protocol'];
/** Each of a model, and of one of its versions. */
const SUBJECTS = [
  { url: '/v2/models/:model', params: InferenceModel, id: 'Model', of: 'the current version of a model' },
  { url: '/v2/models/:model/versions/:version', params: InferenceVersion, id: 'Version', of: 'a version' },
] as const;

interface Subject {
  model: string;
  version?: number;
}

export function inferenceModelRoutes(app: App, { service, store, repository, statistics, config }: Options): void {
  const querystring = NoQuery;

  app.get(
    '/v2/models/stats',
    {
      schema: {
        operationId: 'inferenceStatistics',
        tags,
        summary: 'What ran, of every version of every model',
        querystring,
        response: statisticsResponses,
      },
    },
    async () => {
      const models = await store.models();
      return { model_stats: models.flatMap(({ name, versions }) => versions.map((v) => stats(name, v.version))) };
    },
  );

  for (const { url, params, id, of } of SUBJECTS) {
    app.get(
      url,
      {
        schema: {
          operationId: `inference${id}Metadata`,
          tags,
          summary: `Inputs and outputs of ${of}`,
          params,
          querystring,
          response: metadataResponses,
        },
      },
      async (request) => {
        const { model, version } = request.params as Subject;
        return modelMetadata(await store.get(model, version), await versionsOf(model), config.defaultBits);
      },
    );

    app.get(
      `${url}/ready`,
      {
        schema: {
          operationId: `inference${id}Ready`,
          tags,
          summary: `Whether predictions can be sent to ${of}`,
          params,
          querystring,
          response: modelReadyResponses,
        },
      },
      async (request) => {
        const { model, version } = request.params as Subject;
        await store.get(model, version);
        repository.check(model);
        return { name: model, ready: true };
      },
    );

    app.get(
      `${url}/config`,
      {
        schema: {
          operationId: `inference${id}Config`,
          tags,
          summary: `What clients of Triton read of the configuration of ${of}`,
          params,
          querystring,
          response: configResponses,
        },
      },
      async (request) => {
        const { model, version } = request.params as Subject;
        return modelConfig(await store.get(model, version), config.maxBatch);
      },
    );

    app.get(
      `${url}/stats`,
      {
        schema: {
          operationId: `inference${id}Statistics`,
          tags,
          summary: `What ran, of ${id === 'Model' ? 'every version of a model' : of}`,
          params,
          querystring,
          response: statisticsResponses,
        },
      },
      async (request) => {
        const { model, version } = request.params as Subject;
        const found = await store.get(model, version);
        const versions = version === undefined ? await versionsOf(model) : [found.version];
        return { model_stats: versions.map((number) => stats(model, number)) };
      },
    );
  }

  async function versionsOf(model: string): Promise<number[]> {
    const entry = (await store.models()).find(({ name }) => name === model);
    return entry?.versions.map(({ version }) => version) ?? [];
  }

  function stats(model: string, version: number) {
    const resident = service.variants(model).filter((variant) => variant.version === version);
    const bytes = resident.reduce((sum, { memory_bytes }) => sum + memory_bytes, 0);
    const usage = bytes > 0 ? [{ type: 'CPU', id: 0, byte_size: bytes }] : [];
    return { ...statistics.get(model, version), memory_usage: usage };
  }
}
