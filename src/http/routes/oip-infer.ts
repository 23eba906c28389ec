import type { FastifyReply, FastifyRequest } from 'fastify';
import type { PredictionService } from '../../serving/request.js';
import { acceptedCoding, compress } from '../compression.js';
import { answerFor } from '../inference.js';
import type { Repository } from '../oip/repository.js';
import { readInferCall } from '../oip/request.js';
import { type EncodedAnswer, encodeAnswer } from '../oip/response.js';
import { anyBodies, JSON_TYPE, RAW_TYPE } from '../plugins/bodies.js';
import { type BufferedBytes, countBodies } from '../plugins/buffered-bytes.js';
import { admission } from '../plugins/overload.js';
import { bodyCheckedByCore } from '../plugins/validation.js';
import { InferenceModel, InferenceVersion } from '../schemas/oip.js';
import { HEADER_LENGTH, InferHeaders, InferQuery, inferBody, inferResponses } from '../schemas/oip-infer.js';
import type { App } from '../types.js';

interface Options {
  service: Pick<PredictionService, 'answerWith' | 'admits'>;
  repository: Repository;
  buffered: BufferedBytes;
  maxBodyBytes: number;
}

const SUBJECTS = [
  { url: '/v2/models/:model/infer', params: InferenceModel, id: 'inferModel', of: 'the current version of a model' },
  { url: '/v2/models/:model/versions/:version/infer', params: InferenceVersion, id: 'inferVersion', of: 'a version' },
] as const;

export function inferRoutes(app: App, { service, repository, buffered, maxBodyBytes }: Options): void {
  countBodies(app, buffered);
  anyBodies(app, maxBodyBytes);

  for (const { url, params, id, of } of SUBJECTS) {
    app.post(
      url,
      {
        schema: {
          operationId: id,
          tags: ['open-inference-protocol'],
          summary: `Predict by ${of}, at the bits or within the budget that the parameters name`,
          params,
          querystring: InferQuery,
          headers: InferHeaders,
          body: inferBody,
          response: inferResponses,
        },
        config: { accepts: [JSON_TYPE, RAW_TYPE], decompresses: true },
        onRequest: admission(service),
        validatorCompiler: bodyCheckedByCore,
      },
      async (request, reply) => {
        const { model, version } = request.params as { model: string; version?: number };
        repository.check(model);
        const call = readInferCall(request.body as Buffer, headerLength(request), request.query, request.mediaType);
        const { id, outputs } = call;
        const { choice, body, deadlineMs } = call.request;
        const asked = { model, version, choice, body, deadlineMs };
        const answer = await answerFor(service, request, reply, asked, (inference) =>
          encodeAnswer(inference, id, outputs),
        ).finally(() => void repository.ended(model).catch(() => undefined));
        return send(request, reply, answer);
      },
    );
  }
}

function headerLength(request: FastifyRequest): string | undefined {
  return request.headers[HEADER_LENGTH] as string | undefined;
}

async function send(request: FastifyRequest, reply: FastifyReply, { body, headerLength }: EncodedAnswer) {
  reply.type(headerLength === null ? JSON_TYPE : RAW_TYPE).header('vary', 'accept-encoding');
  // of the JSON as it is before it is compressed
  if (headerLength !== null) reply.header(HEADER_LENGTH, headerLength);
  const coding = acceptedCoding(request.headers['accept-encoding']);
  if (coding === null) return reply.send(body);
  return reply.header('content-encoding', coding).send(await compress(body, coding));
}
