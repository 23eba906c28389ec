import Type from 'typebox';
import { ServiceError } from '../../errors.js';
import { AnyObject } from './common.js';
import { body, json, problems } from './responses.js';

export const liveResponses = {
  200: json('The process answers', Type.Object({ status: Type.String() }), { status: 'live' }),
};

export const Ready = Type.Object({
  status: Type.String(),
  role: Type.String({ description: '`all`, `serve` or `train`' }),
  default_model: Type.Optional(Type.String()),
  engine: Type.Optional(Type.String({ description: 'Engine that answers predictions' })),
  training_backend: Type.String({ description: 'Of the last job that ran, or `not loaded`; `unknown` without Redis' }),
  redis: Type.String({
    description: '`up` or `down`; `off` without REDIS_URL. Predictions do not need it, training jobs do',
  }),
});

export const readyResponses = {
  200: json('The default variant has answered its warm-up', Ready, {
    status: 'ready',
    role: 'all',
    default_model: 'mnist-lenet',
    engine: 'reference',
    training_backend: 'not loaded',
    redis: 'off',
  }),
  ...problems(
    new ServiceError('not_ready', 'expected a warm default variant, got: the service is shutting down', {
      state: 'draining',
      role: 'all',
      default_model: 'mnist-lenet',
      engine: 'reference',
      training_backend: 'not loaded',
      redis: 'off',
      retry_after_s: 1,
    }),
  ),
};

export const metricsResponses = {
  200: body(
    'text/plain',
    'Prometheus text format; docs/METRICS.md has the list',
    Type.String(),
    '# TYPE bitdial_ready gauge\nbitdial_ready 1\n',
  ),
};

export const documentResponses = {
  200: json('This document', AnyObject('OpenAPI 3.1'), { openapi: '3.1.0', info: { title: 'bitdial' }, paths: {} }),
};
