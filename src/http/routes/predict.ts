import type { FastifyRequest } from 'fastify';
import { ServiceError } from '../../errors.js';
import type { PredictBody, PredictionService } from '../../serving/request.js';
import { readChoice } from '../choice.js';
import { binaryBodies, IMAGE_TYPES, JSON_TYPE, jsonBodies, RAW_TYPE } from '../plugins/bodies.js';
import { type BufferedBytes, countBodies } from '../plugins/buffered-bytes.js';
import { abandoned, admission } from '../plugins/overload.js';
import { traced } from '../plugins/tracing.js';
import { PredictQuery, predictBody, predictResponses } from '../schemas/predict.js';
import type { App } from '../types.js';

interface Options {
  service: PredictionService;
  buffered: BufferedBytes;
}

export function predictRoutes(app: App, { service, buffered }: Options): void {
  countBodies(app, buffered);
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
      onRequest: admission(service),
    },
    async (request, reply) => {
      const { facts, query } = request;
      facts.bits = query.bits;
      facts.activationBits = query.activation_bits;
      const { model, version, label, top_k: topK, timeout_ms: deadlineMs } = query;
      const choice = readChoice(query, 'query');
      const body = readBody(request, query.dtype);
      const [signal, steps] = [abandoned(reply), traced(request)];
      const answer = await service.predict({ model, version, label, choice, topK, deadlineMs, body, signal, steps });
      facts.model = answer.model;
      facts.version = answer.version;
      facts.bits = answer.bits;
      facts.activationBits = answer.activation_bits;
      facts.energyUj = answer.cost.energy_uj;
      return answer;
    },
  );
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
