/** Every setting: environment name, default, meaning. docs/CONFIG.md is generated from this table. */

type Kind = 'string' | 'integer' | 'bytes' | 'choice' | 'number';
export interface Setting {
  env: string;
  kind: Kind;
  default: string;
  meaning: string;
  min?: number;
  max?: number;
  choices?: readonly string[];
}

export const SETTINGS = {
  port: { env: 'PORT', kind: 'integer', default: '3000', min: 0, max: 65535, meaning: 'TCP port; 0 takes a free one' },
  host: {
    env: 'HOST',
    kind: 'string',
    default: '127.0.0.1',
    meaning: 'Address to listen on; the container sets 0.0.0.0',
  },
  modelsDir: { env: 'MODELS_DIR', kind: 'string', default: './models', meaning: 'Shipped versions; only read' },
  dataDir: { env: 'DATA_DIR', kind: 'string', default: './data', meaning: 'Jobs and new versions; written' },
  defaultModel: {
    env: 'DEFAULT_MODEL',
    kind: 'string',
    default: 'mnist-lenet',
    meaning: 'Model of a request that names none',
  },
  defaultBits: {
    env: 'DEFAULT_BITS',
    kind: 'string',
    default: '',
    meaning: 'Bits of a request that names neither bits nor a budget (2..8, 16, 32); empty: what the version says',
  },
  variantCacheBytes: {
    env: 'VARIANT_CACHE_BYTES',
    kind: 'bytes',
    default: '268435456',
    min: 1,
    meaning: 'Bound on the bytes of all resident variants',
  },
  maxBatch: {
    env: 'MAX_BATCH',
    kind: 'integer',
    default: '64',
    min: 1,
    max: 4096,
    meaning: 'Instances in one request at most, and in one batch of several requests',
  },
  maxBodyBytes: {
    env: 'MAX_BODY_BYTES',
    kind: 'bytes',
    default: '16777216',
    min: 1024,
    meaning: 'Bytes of a request body at most',
  },
  maxBufferedBytes: {
    env: 'MAX_BUFFERED_BYTES',
    kind: 'bytes',
    default: '268435456',
    min: 1024,
    meaning:
      'Bytes of the bodies of all requests together, from their heads to their answers, but for those with an admin token; past it requests are turned away',
  },
  maxImagePixels: {
    env: 'MAX_IMAGE_PIXELS',
    kind: 'integer',
    default: '50000000',
    min: 1,
    meaning: 'Pixels of an image file at most, before it is resized',
  },
  maxModelBytes: {
    env: 'MAX_MODEL_BYTES',
    kind: 'bytes',
    default: '2147483648',
    min: 1,
    meaning: 'Bytes of the files of an uploaded model at most, unpacked; also of an imported one’s weights as float32',
  },
  maxDatasetBytes: {
    env: 'MAX_DATASET_BYTES',
    kind: 'bytes',
    default: '4294967296',
    min: 1,
    meaning: 'Bytes of an uploaded data set at most, unpacked; also of one decoded to pixels',
  },
  maxDatasetFiles: {
    env: 'MAX_DATASET_FILES',
    kind: 'integer',
    default: '500000',
    min: 1,
    meaning: 'Files and folders of an uploaded data set at most',
  },
  maxQueue: {
    env: 'MAX_QUEUE',
    kind: 'integer',
    default: '512',
    min: 1,
    meaning: 'Instances waiting or running at most, over all requests; past it requests are turned away',
  },
  batching: {
    env: 'BATCHING',
    kind: 'choice',
    default: 'on',
    choices: ['on', 'off'],
    meaning: 'Whether requests that wait for the same variant are run together',
  },
  batchWaitMs: {
    env: 'BATCH_WAIT_MS',
    kind: 'integer',
    default: '0',
    min: 0,
    max: 10000,
    meaning:
      'Milliseconds that a request waits for others to share its batch, while something runs and the engine has room for more; ' +
      'with nothing running none waits',
  },
  overloadStatus: {
    env: 'OVERLOAD_STATUS',
    kind: 'choice',
    default: '503',
    choices: ['503', '429'],
    meaning:
      'HTTP status of requests that MAX_QUEUE or MAX_BUFFERED_BYTES turns away: 503 (`overloaded`) or 429 (`too_many_requests`)',
  },
  overloadPolicy: {
    env: 'OVERLOAD_POLICY',
    kind: 'choice',
    default: 'reject',
    choices: ['reject', 'degrade'],
    meaning:
      'What happens under load before MAX_QUEUE is reached: nothing, or fewer bits for requests that named none, as far as ' +
      'DEGRADE_MAX_DROP and their budgets allow',
  },
  degradeWaitMs: {
    env: 'DEGRADE_WAIT_MS',
    kind: 'integer',
    default: '50',
    min: 1,
    max: 60000,
    meaning: 'Milliseconds of waiting for the engine that count as load, for OVERLOAD_POLICY=degrade',
  },
  degradeMaxDrop: {
    env: 'DEGRADE_MAX_DROP',
    kind: 'number',
    default: '0.02',
    min: 0,
    max: 1,
    meaning: 'Accuracy (0..1) that lowered bits may cost, against the precision that the request would have had',
  },
  powerBudgetMw: {
    env: 'POWER_BUDGET_MW',
    kind: 'number',
    default: '0',
    min: 0,
    meaning:
      'Modelled average power over 10 s at most, in milliwatts, by the energy table: bits are lowered within DEGRADE_MAX_DROP, ' +
      'then requests are turned away; 0: no bound',
  },
  engine: {
    env: 'ENGINE',
    kind: 'choice',
    default: 'auto',
    choices: ['auto', 'native', 'reference', 'tfjs'],
    meaning: 'Engine that runs the variants',
  },
  engineThreads: {
    env: 'ENGINE_THREADS',
    kind: 'integer',
    default: '0',
    min: 0,
    max: 256,
    meaning: 'Threads of the engine; 0: one for each core',
  },
  trainingThreads: {
    env: 'TRAINING_THREADS',
    kind: 'integer',
    default: '0',
    min: 0,
    max: 256,
    meaning: 'Threads of a training on the wasm backend with the addon; 0: one for each core',
  },
  energyTable: {
    env: 'ENERGY_TABLE',
    kind: 'string',
    default: '',
    meaning: 'JSON file with the energy figures of your chip; empty: the built-in table',
  },
  adminToken: {
    env: 'ADMIN_TOKEN',
    kind: 'string',
    default: '',
    meaning: 'Bearer tokens of /admin/*, between commas; none here or in a file: one is made at start and printed once',
  },
  adminTokenFile: {
    env: 'ADMIN_TOKEN_FILE',
    kind: 'string',
    default: '',
    meaning:
      'File with further admin tokens, one a line; read again when it changes, so that they rotate without a restart',
  },
  authFailureLimit: {
    env: 'AUTH_FAILURE_LIMIT',
    kind: 'integer',
    default: '10',
    min: 0,
    meaning:
      'Wrong admin tokens of a client in a minute, past which further ones are a 429; after as many different ones a right token ' +
      'of fewer than 32 characters is, too; 0: no limit',
  },
  rateLimit: {
    env: 'RATE_LIMIT',
    kind: 'integer',
    default: '0',
    min: 0,
    meaning: 'Requests of a client in a minute, past which 429; never of health and metrics; 0: no limit',
  },
  trustProxy: {
    env: 'TRUST_PROXY',
    kind: 'string',
    default: '',
    meaning:
      'Whose X-Forwarded-For says which client it is: addresses or networks between commas (`loopback` and `uniquelocal` are some), or a number of proxies; empty: nobody’s',
  },
  role: {
    env: 'ROLE',
    kind: 'choice',
    default: 'all',
    choices: ['all', 'serve', 'train'],
    meaning:
      'What this process does: answer requests, run training jobs, or both; one of the two alone needs REDIS_URL',
  },
  redisUrl: {
    env: 'REDIS_URL',
    kind: 'string',
    default: '',
    meaning:
      'Redis server that keeps the jobs of all replicas and trainers (redis:// or rediss://), which share DATA_DIR too; empty: the jobs are this process’s own, in DATA_DIR',
  },
  redisPrefix: {
    env: 'REDIS_PREFIX',
    kind: 'string',
    default: 'bitdial',
    meaning: 'Before every key in Redis; services that share a server each have one of their own',
  },
  maxJobs: { env: 'MAX_JOBS', kind: 'integer', default: '1000', min: 1, meaning: 'Queued training jobs at most' },
  drainMs: {
    env: 'DRAIN_MS',
    kind: 'integer',
    default: '10000',
    min: 0,
    meaning: 'Milliseconds that a SIGTERM waits for requests in flight',
  },
  logLevel: {
    env: 'LOG_LEVEL',
    kind: 'choice',
    default: 'info',
    choices: ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'],
    meaning: 'pino log level',
  },
} as const satisfies Record<string, Setting>;
