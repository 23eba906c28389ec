/**
 * Every error a client can meet: stable code, HTTP status, title. The `detail` of each occurrence says what was expected
 * and what came.
 */
export const ERRORS = {
  bad_request: [400, 'The request cannot be read'],
  malformed_json: [400, 'The body is not valid JSON'],
  body_too_deep: [400, 'The body is nested too deeply'],
  empty_body: [400, 'The body is empty'],
  unknown_field: [400, 'The request has a field that is not known'],
  invalid_field: [400, 'A field of the request has a wrong value'],
  missing_field: [400, 'A field of the request is missing'],
  bits_and_budget: [400, 'Bits and a budget are both given'],
  wrong_shape: [400, 'The input has the wrong shape'],
  not_finite: [400, 'The input has a number that is not finite'],
  out_of_range: [400, 'The input has a number outside the input range'],
  bad_image: [400, 'The image cannot be decoded'],
  batch_too_large: [400, 'Too many instances'],
  bad_archive: [400, 'The archive cannot be unpacked'],
  unauthorized: [401, 'An admin token is needed'],
  model_not_found: [404, 'No such model'],
  version_not_found: [404, 'No such version'],
  label_not_found: [404, 'No such label'],
  job_not_found: [404, 'No such job'],
  dataset_not_found: [404, 'No such data set'],
  route_not_found: [404, 'No such route'],
  method_not_allowed: [405, 'The route does not take this method'],
  request_timeout: [408, 'The request did not arrive in time'],
  job_finished: [409, 'The job has already ended'],
  dataset_exists: [409, 'There is a data set of this name'],
  dataset_in_use: [409, 'A job or an upload uses the data set'],
  body_too_large: [413, 'The body is too large'],
  image_too_large: [413, 'The image has too many pixels'],
  unsupported_media_type: [415, 'The content type is not supported'],
  budget_infeasible: [422, 'No precision meets the budget'],
  accuracy_unknown: [422, 'The accuracy of the version was never measured'],
  no_precision_table: [422, 'The version has no precision table to choose from'],
  unsupported_layer: [422, 'The model has a layer that is not supported'],
  bad_model: [422, 'The model cannot be read'],
  bad_dataset: [422, 'The data set cannot be read'],
  idempotency_key_reused: [422, 'The idempotency key was used with another request'],
  too_many_requests: [429, 'Too many requests'],
  variant_too_large: [422, 'The variant is larger than the variant cache'],
  headers_too_large: [431, 'The request headers are too large'],
  client_closed_request: [499, 'The client went away before the answer'],
  overloaded: [503, 'The service is overloaded'],
  queue_unavailable: [503, 'The job queue cannot be reached'],
  power_budget: [503, 'The power budget is spent'],
  deadline_exceeded: [504, 'The answer was not there in time'],
  not_ready: [503, 'The service is not ready'],
  internal: [500, 'Internal error'],
  storage_full: [507, 'There is no room left on the disk'],
} as const satisfies Record<string, readonly [number, string]>;

export type ErrorCode = keyof typeof ERRORS;

/** An error meant for the client: `detail` and `extra` reach the response, so they hold nothing internal. */
export class ServiceError extends Error {
  readonly code: ErrorCode;
  /** Further members of the problem document: field, expected, actual … */
  readonly extra: Record<string, unknown>;

  constructor(code: ErrorCode, detail: string, extra: Record<string, unknown> = {}) {
    super(detail);
    this.name = 'ServiceError';
    this.code = code;
    this.extra = extra;
  }

  get status(): number {
    return ERRORS[this.code][0];
  }

  get title(): string {
    return ERRORS[this.code][1];
  }
}
