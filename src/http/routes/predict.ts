import type { FastifyRequest } from 'fastify';
import { ServiceError } from '../../errors.js';
import type { Budget, PredictBody, PredictionService, PredictRequest } from '../../serving/request.js';
import { binaryBodies, IMAGE_TYPES, JSON_TYPE, jsonBodies, RAW_TYPE } from '../plugins/bodies.js';
import { PredictQuery, predictBody, predictResponses } from '../schemas/predict.js';
import type { App } from '../types.js';

export function predictRoutes(app: App, { service }: { service: PredictionService }): void {
  jsonBodies(app);
  binaryBodies(app);

  app.post(
    '/predict',
    {
      schema: {
        operationId: 'predict',
        tags: ['predict'],
        summary: 'Predict, at the bits or within the budget that the query names',
        querystring: PredictQuery,
        body: predictBody,
        response: predictResponses,
      },
      config: { accepts: [IMAGE_TYPES, JSON_TYPE, RAW_TYPE] },
    },
    async (request) => {
      const { facts, query } = request;
      facts.bits = query.bits;
      facts.activationBits = query.activation_bits;
      const answer = await service.predict(toRequest(query, readBody(request, query.dtype)));
      facts.model = answer.model;
      facts.version = answer.version;
      facts.bits = answer.bits;
      facts.activationBits = answer.activation_bits;
      facts.energyUj = answer.cost.energy_uj;
      return answer;
    },
  );
}

function toRequest(query: PredictQuery, body: PredictBody): PredictRequest {
  const { bits, activation_bits: activationBits } = query;
  const budget: Budget = {
    maxEnergyUj: query.max_energy_uj,
    maxMemoryKib: query.max_memory_kib,
    maxLatencyMs: query.max_latency_ms,
    minAccuracy: query.min_accuracy,
  };
  const budgets = (['max_energy_uj', 'max_memory_kib', 'max_latency_ms', 'min_accuracy'] as const).filter(
    (name) => query[name] !== undefined,
  );
  const named = (['bits', 'activation_bits'] as const).filter((name) => query[name] !== undefined);
  if (named.length > 0 && budgets.length > 0) {
    const [expected, actual] = ['bits or a budget', [...named, ...budgets].join(' and ')];
    throw new ServiceError('bits_and_budget', `query: expected ${expected}, got ${actual}`, { expected, actual });
  }
  return {
    model: query.model,
    version: query.version,
    choice: { bits, activationBits, budget: budgets.length > 0 ? budget : undefined },
    topK: query.top_k,
    body,
  };
}

/** The parsers leave JSON as a value that the schema has checked, and everything else as a Buffer. */
function readBody(request: FastifyRequest, dtype: PredictQuery['dtype']): PredictBody {
  const { body } = request;
  const type = request.mediaType ?? '';
  if (Buffer.isBuffer(body) && type === RAW_TYPE) return { kind: 'raw', dtype: dtype ?? 'uint8', bytes: body };
  if (dtype !== undefined) {
    const [expected, actual] = [`nothing unless the body is ${RAW_TYPE}`, JSON.stringify(dtype)];
    throw new ServiceError('invalid_field', `dtype: expected ${expected}, got ${actual}`, {
      field: 'dtype',
      expected,
      actual,
    });
  }
  if (Buffer.isBuffer(body)) return { kind: 'image', bytes: body };
  return { kind: 'instances', instances: (body as { instances?: unknown }).instances };
}
