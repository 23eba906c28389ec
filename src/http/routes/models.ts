import type { Manifest } from '../../model/manifest.js';
import { quantizerChoice } from '../../quantize/choice.js';
import { parsePrecision } from '../../quantize/precision.js';
import { type PredictionService, versionAndLabel } from '../../serving/request.js';
import type { ModelCatalog } from '../parts.js';
import { ModelParams, NoQuery } from '../schemas/common.js';
import { ModelQuery, modelListResponses, modelResponses, variantResponses } from '../schemas/models.js';
import type { App } from '../types.js';

interface Options {
  service: PredictionService;
  store: ModelCatalog;
  defaultModel: string;
}

export function modelRoutes(app: App, { service, store, defaultModel }: Options): void {
  app.get(
    '/models',
    {
      schema: {
        operationId: 'listModels',
        tags: ['models'],
        summary: 'The models and their versions',
        querystring: NoQuery,
        response: modelListResponses,
      },
    },
    async () => ({ default: defaultModel, models: await store.models() }),
  );

  app.get(
    '/models/:model',
    {
      schema: {
        operationId: 'getModel',
        tags: ['models'],
        summary: 'One version of a model: manifest and precision table',
        params: ModelParams,
        querystring: ModelQuery,
        response: modelResponses,
      },
    },
    async (request) => {
      const { version: number, label } = request.query;
      if (number !== undefined && label !== undefined) throw versionAndLabel();
      const { model, version, digest, manifest } = await store.get(request.params.model, label ?? number);
      const entry = (await store.models()).find(({ name }) => name === model);
      const { current = null, labels = {} } = entry ?? {};
      return { model, version, digest, current, labels, precisions: precisionTable(manifest), manifest };
    },
  );

  app.get(
    '/models/:model/variants',
    {
      schema: {
        operationId: 'listVariants',
        tags: ['models'],
        summary: 'The variants of a model that are resident',
        params: ModelParams,
        querystring: NoQuery,
        response: variantResponses,
      },
    },
    async (request) => {
      const { model } = request.params;
      const variants = service.variants(model);
      if (variants.length === 0) await store.get(model); // throws where there is no such model
      return { variants };
    },
  );
}

/** Widest weights first, then widest activations. */
export function precisionTable({ precisions, quantizer }: Pick<Manifest, 'precisions' | 'quantizer'>) {
  const rows = Object.entries(precisions).map(([key, record]) => {
    const precision = parsePrecision(key);
    const {
      clipRule: clip_rule,
      rangeFactor: range_factor,
      biasCorrection: bias_correction,
    } = quantizerChoice(quantizer, precision);
    const chosen = { clip_rule, range_factor, bias_correction };
    const { weightBits: bits, activationBits: activation_bits } = precision;
    const { accuracy, images, energy_uj, memory_bytes, macs } = record;
    return { bits, activation_bits, accuracy, images, energy_uj, memory_bytes, macs, ...chosen };
  });
  return rows.sort((a, b) => b.bits - a.bits || b.activation_bits - a.activation_bits);
}
