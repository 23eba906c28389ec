import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Inference, InferRequest, PredictionService } from '../serving/request.js';
import { abandoned } from './plugins/overload.js';
import { traced } from './plugins/tracing.js';

/** One inference for a request of any protocol: it ends with its client, is traced, and log and metrics hear what ran. */
export async function inferFor(
  service: Pick<PredictionService, 'infer'>,
  request: FastifyRequest,
  reply: FastifyReply,
  { model, version, label, choice, body, deadlineMs }: Omit<InferRequest, 'signal' | 'steps'>,
): Promise<Inference> {
  const { facts } = request;
  facts.bits = choice.bits;
  facts.activationBits = choice.activationBits;
  const [signal, steps] = [abandoned(reply), traced(request)];
  const inference = await service.infer({ model, version, label, choice, body, deadlineMs, signal, steps });
  facts.model = inference.version.model;
  facts.version = inference.version.version;
  facts.bits = inference.precision.weightBits;
  facts.activationBits = inference.precision.activationBits;
  facts.energyUj = inference.cost.energyUj;
  return inference;
}
