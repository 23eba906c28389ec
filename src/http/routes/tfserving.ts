/** TensorFlow Serving's REST API (https://www.tensorflow.org/tfx/serving/api_rest), for clients that speak it already. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Inference, InferRequest, PredictionService } from '../../serving/request.js';
import { readChoice, saidOnce } from '../choice.js';
import { answerFor } from '../inference.js';
import type { ModelCatalog } from '../parts.js';
import { anyBodies, JSON_TYPE } from '../plugins/bodies.js';
import { type BufferedBytes, countBodies } from '../plugins/buffered-bytes.js';
import { readJson } from '../plugins/json.js';
import { admission } from '../plugins/overload.js';
import { NoQuery } from '../schemas/common.js';
import type { PrecisionQuery } from '../schemas/precision.js';
import {
  classifyResponses,
  ExampleBody,
  InferenceQuery,
  metadataResponses,
  predictResponses,
  statusResponses,
  type Target,
  TensorBody,
  targets,
} from '../schemas/tfserving.js';
import { classifications, modelMetadata, modelStatus, probabilities, ranHeaders } from '../tfserving/answers.js';
import { readExamples, readTensors } from '../tfserving/request.js';
import type { App } from '../types.js';

interface Options {
  service: PredictionService;
  store: ModelCatalog;
  buffered: BufferedBytes;
  maxBodyBytes: number;
}

const config = { accepts: [JSON_TYPE], decompresses: true };
/** Names end before a colon, for the verb begins there. */
const PATHS = {
  current: '/models/:model([^/:]+)',
  version: '/models/:model([^/:]+)/versions/:version([^/:]+)',
  label: '/models/:model([^/:]+)/labels/:label([^/:]+)',
};
const WHICH = { current: 'the current version', version: 'one version', label: 'the version that a label stands for' };

/** In a scope of its own: its clients send JSON under any content type, or under none. */
export function tfServingRoutes(app: App, options: Options): void {
  countBodies(app, options.buffered);
  anyBodies(app, options.maxBodyBytes, readJson);
  for (const which of ['current', 'version', 'label'] as const) {
    inferenceRoutes(app, options, which);
    descriptionRoutes(app, options, which);
  }
}

function inferenceRoutes(app: App, { service }: Options, which: keyof typeof PATHS): void {
  const shared = { tags: ['tensorflow-serving'], params: targets[which], querystring: InferenceQuery };
  const onRequest = admission(service);

  app.post(
    `${PATHS[which]}::predict`,
    {
      schema: {
        operationId: operationId('tfPredict', which),
        summary: `TensorFlow Serving: predict with ${WHICH[which]}`,
        ...shared,
        body: TensorBody,
        response: predictResponses,
      },
      config,
      onRequest,
    },
    async (request, reply) => {
      const { rows, body } = readTensors(request.body);
      const name = rows ? 'predictions' : 'outputs';
      return run(request, reply, request.body, body, (inference) => ({ [name]: probabilities(inference) }));
    },
  );

  app.post(
    `${PATHS[which]}::classify`,
    {
      schema: {
        operationId: operationId('tfClassify', which),
        summary: `TensorFlow Serving: classify with ${WHICH[which]}`,
        ...shared,
        body: ExampleBody,
        response: classifyResponses,
      },
      config,
      onRequest,
    },
    async (request, reply) => {
      const examples = readExamples(request.body);
      return run(request, reply, request.body, examples, (inference) => ({ results: classifications(inference) }));
    },
  );

  function run<T>(
    request: FastifyRequest,
    reply: FastifyReply,
    fields: PrecisionQuery,
    body: InferRequest['body'],
    word: (inference: Inference) => T,
  ): Promise<T> {
    const { timeout_ms: deadlineMs, ...query } = request.query as InferenceQuery;
    const { model, version, label } = request.params as Target;
    const choice = readChoice(saidOnce(query, fields, 'body'), 'request');
    return answerFor(service, request, reply, { model, version, label, choice, body, deadlineMs }, (inference) => {
      reply.headers(ranHeaders(inference));
      return word(inference);
    });
  }
}

function descriptionRoutes(app: App, { store }: Options, which: keyof typeof PATHS): void {
  const shared = { tags: ['tensorflow-serving'], params: targets[which], querystring: NoQuery };
  const find = ({ model, version, label }: Target) => store.get(model, label ?? version);

  app.get(
    PATHS[which],
    {
      schema: {
        operationId: operationId('tfStatus', which),
        summary: `TensorFlow Serving: the state of ${which === 'current' ? 'a model' : WHICH[which]}`,
        ...shared,
        response: statusResponses,
      },
    },
    async (request) => {
      const { model, version } = await find(request.params as Target);
      if (which !== 'current') return modelStatus([version]);
      const entry = (await store.models()).find(({ name }) => name === model);
      return modelStatus((entry?.versions ?? [{ version }]).map((v) => v.version));
    },
  );

  app.get(
    `${PATHS[which]}/metadata`,
    {
      schema: {
        operationId: operationId('tfMetadata', which),
        summary: `TensorFlow Serving: the signature of ${WHICH[which]}`,
        ...shared,
        response: metadataResponses,
      },
    },
    async (request) => modelMetadata(await find(request.params as Target)),
  );
}

function operationId(name: string, which: keyof typeof PATHS): string {
  return which === 'current' ? name : name + (which === 'version' ? 'Version' : 'Label');
}
