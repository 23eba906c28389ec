import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Inference, InferRequest, PredictionService } from '../serving/request.js';
import { abandoned } from './plugins/overload.js';
import { traced } from './plugins/tracing.js';

/**
 * The answer to a request of any protocol, which words it: the inference ends with its client, is traced, and log and
 * metrics hear what ran.
 */
export function answerFor<T>(
  service: Pick<PredictionService, 'answerWith'>,
  request: FastifyRequest,
  reply: FastifyReply,
  { model, version, label, choice, body, deadlineMs }: Omit<InferRequest, 'signal' | 'steps'>,
  word: (inference: Inference) => T,
): Promise<T> {
  const { facts } = request;
  facts.bits = choice.bits;
  facts.activationBits = choice.activationBits;
  const [signal, steps] = [abandoned(reply), traced(request)];
  const asked = { model, version, label, choice, body, deadlineMs, signal, steps };
  return service.answerWith(asked, (inference) => {
    facts.model = inference.version.model;
    facts.version = inference.version.version;
    facts.bits = inference.precision.weightBits;
    facts.activationBits = inference.precision.activationBits;
    facts.energyUj = inference.cost.energyUj;
    return word(inference);
  });
}
