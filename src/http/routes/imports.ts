import type { Readable } from 'node:stream';
import type { FastifyRequest } from 'fastify';
import { ServiceError } from '../../errors.js';
import type { Imported } from '../../importing/importer.js';
import { type ImportFields, parseImportRequest } from '../../importing/request.js';
import type { ModelImporter } from '../parts.js';
import { ARCHIVE_TYPES, archiveBodies, JSON_TYPE, jsonBodies } from '../plugins/bodies.js';
import { type ImportBody, ImportQuery, importBody, importResponses } from '../schemas/imports.js';
import type { App } from '../types.js';
import { precisionTable } from './models.js';

/** In a scope of its own, which reads archives as they arrive, and JSON. */
export function importRoutes(app: App, { importer }: { importer: ModelImporter }): void {
  void app.register(async (scope) => {
    archiveBodies(scope as App);
    jsonBodies(scope as App);
    importRoute(scope as App, importer);
  });
}

function importRoute(app: App, importer: ModelImporter): void {
  app.post(
    '/models',
    {
      schema: {
        operationId: 'importModel',
        tags: ['admin'],
        summary: 'Import a TF.js Layers model, from an archive or from a folder of the service',
        security: [{ adminToken: [] }],
        querystring: ImportQuery,
        body: importBody,
        response: importResponses,
      },
      config: { accepts: [JSON_TYPE, ...ARCHIVE_TYPES], upload: true },
    },
    async (request, reply) => {
      const { version, summary } = await run(request, request.query, importer);
      const { model, version: number, digest, manifest } = version;
      request.facts.model = model;
      request.facts.version = number;
      const { ranges, calibration_images } = manifest.imported ?? { ranges: 'data-free', calibration_images: 0 };
      request.log.info({ model, version: number, ranges, parameters: summary.parameters }, 'model imported');
      return reply
        .code(201)
        .header('location', `/models/${model}?version=${number}`)
        .send({
          model,
          version: number,
          digest,
          input: { ...manifest.input },
          labels: manifest.labels.length,
          ...summary,
          ranges,
          calibration_images,
          default_precision: manifest.default_precision,
          precisions: precisionTable(manifest),
        });
    },
  );
}

function run(request: FastifyRequest, query: ImportQuery, importer: ModelImporter): Promise<Imported> {
  if (request.mediaType === JSON_TYPE) {
    refuseQuery(query);
    const { path, calibration = null, ...fields } = request.body as ImportBody;
    return importer.fromFolder(path, calibration, parseImportRequest(fields));
  }
  const { calibration = null, input_range, input_shape, make_current, ...plain } = query;
  const fields: ImportFields = {
    ...plain,
    input_range: input_range?.split(',').map(Number),
    input_shape: input_shape?.split(',').map(Number),
    make_current: make_current === undefined ? undefined : make_current === 'true',
  };
  return importer.fromArchive(request.body as Readable, calibration, parseImportRequest(fields));
}

/** What a JSON body says in its fields, the query does not say again. */
function refuseQuery(query: ImportQuery): void {
  const [name] = Object.keys(query);
  if (name === undefined) return;
  const expected = 'no field in the query beside a JSON body';
  throw new ServiceError('unknown_field', `query: expected ${expected}, got "${name}"`, { field: name, expected });
}
