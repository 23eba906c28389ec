import { ServiceError } from '../errors.js';
import type { Version } from '../model/version.js';
import type { Precision, Width } from '../quantize/precision.js';
import type { Leaving } from './patience.js';
import type { StepObserver } from './steps.js';

/** What the caller may spend, and what it must get. */
export interface Budget {
  maxEnergyUj?: number;
  maxMemoryKib?: number;
  /** Of one request, for all its instances together. */
  maxLatencyMs?: number;
  /** 0..1 */
  minAccuracy?: number;
}

/** How the precision of an answer is found: named bits, a budget, or neither (the default of service and version). */
export interface PrecisionChoice {
  bits?: Width;
  activationBits?: Width;
  budget?: Budget;
}

/** Instances as they came; the service turns them into the model's float32 NHWC input, or says what is wrong with them. */
export type PredictBody =
  | { kind: 'image'; bytes: Uint8Array }
  /** Each: a nested or flat array of numbers in the input range, or {b64} holding an image file. Not checked yet. Errors call them `field`. */
  | { kind: 'instances'; instances: unknown; field?: string }
  /** NHWC; uint8 is 0..255 pixels, float32 is little-endian and in the input range. */
  | { kind: 'raw'; dtype: 'uint8' | 'float32'; bytes: Uint8Array }
  | TensorBody;

/**
 * A tensor, as inference protocols send it. Its shape is what the client says, [n, height, width, channels], or [n] or
 * [n, 1] for image files; neither it nor the data is checked yet.
 */
export interface TensorBody {
  kind: 'tensor';
  shape: readonly number[];
  /** uint8 is 0..255 pixels, float32 is in the input range, files are image files. */
  dtype: 'uint8' | 'float32' | 'files';
  /**
   * Bytes: little-endian, row by row; each file has its length before it, in four bytes. Values, as JSON has them: numbers,
   * flat or nested as the shape; each file as base64.
   */
  data: { bytes: Uint8Array } | { values: unknown };
}

export interface InferRequest {
  /** Default: the configured default model. */
  model?: string;
  /** Default: the model's current version. */
  version?: number;
  /** Instead of a version: the one that this label stands for. */
  label?: string;
  choice: PrecisionChoice;
  body: PredictBody;
  /** Milliseconds from now within which the answer is worth having; past it the request fails and frees its place. */
  deadlineMs?: number;
  /** Aborted when nobody waits for the answer any longer; what has not begun by then is not computed. */
  signal?: Leaving;
  /** Told of the request's steps. */
  steps?: StepObserver;
}

/** Why a request was served at fewer bits than it would have had. */
export interface Degradation {
  from: Precision;
  reason: 'overload' | 'power';
}

/** What one request came to, before any protocol words it. */
export interface Inference {
  version: Version;
  /** What ran. */
  precision: Precision;
  /** Instances. */
  batch: number;
  /** batch × classes. */
  logits: Float32Array;
  /** Energy of the whole request (all instances); accuracy null where the version has not evaluated this precision. */
  cost: { energyUj: number; memoryBytes: number; expectedAccuracy: number | null };
  variant: { cached: boolean; buildMs: number; engine: string };
  /** All of its waiting for the engine, and the time of the run that it shared with others. */
  timing: { queueMs: number; computeMs: number };
  /** Only where the service lowered the bits. */
  degraded?: Degradation;
}

export interface PredictRequest extends InferRequest {
  /** Default 5; at most the number of classes is used. */
  topK?: number;
}

export interface RankedLabel {
  label: string;
  index: number;
  probability: number;
}

/** The 200 body of `POST /predict`. */
export interface PredictAnswer {
  model: string;
  version: number;
  digest: string;
  bits: number;
  activation_bits: number;
  predictions: (RankedLabel & { top: RankedLabel[] })[];
  /** Energy of the whole request (all instances); accuracy null where the version has not evaluated this precision. */
  cost: { energy_uj: number; memory_bytes: number; expected_accuracy: number | null };
  variant: { cached: boolean; build_ms: number; engine: string };
  timing_ms: { queue: number; compute: number };
  /** Only where the service lowered the bits. */
  degraded?: { from: { bits: number; activation_bits: number }; reason: 'overload' | 'power' };
}

/** One resident variant, as `GET /models/{model}/variants` lists it. */
export interface ResidentVariant {
  model: string;
  version: number;
  bits: number;
  activation_bits: number;
  memory_bytes: number;
  hits: number;
  /** Requests that run on it now. */
  in_use: number;
  engine: string;
  build_ms: number;
  /** Moving median of one image's compute time; null before the first. */
  latency_ms: number | null;
}

/** What waits and runs, and what is done about it. */
export interface ServiceLoad {
  /** Instances that wait for the engine, those that it has, and all that were taken in and are not answered yet. */
  waiting: number;
  running: number;
  taken: number;
  /** MAX_QUEUE, which bounds `taken`. */
  limit: number;
  /** 0..1: how far the bits are lowered under load, as a share of what is allowed. */
  brownOut: number;
  /** Modelled average power, and its budget; null where there is none. */
  power: { milliwatts: number; budget: number } | null;
}

/** What the HTTP layer (and later protocols) see of serving. All errors are ServiceErrors. */
export interface PredictionService {
  /** Logits. */
  infer(request: InferRequest): Promise<Inference>;
  /** An inference in the words of a protocol; the observer hears how long they took. */
  answerWith<T>(request: InferRequest, word: (inference: Inference) => T): Promise<T>;
  /** Ranked labels. */
  predict(request: PredictRequest): Promise<PredictAnswer>;
  /**
   * Whether a request would be taken in now; to be asked before its body is read.
   * @throws ServiceError overloaded, too_many_requests, not_ready
   */
  admits(): void;
  load(): ServiceLoad;
  /** Resident variants, of one model or all. */
  variants(model?: string): ResidentVariant[];
  /** Drops the resident variants of a model that are not in use; returns how many, and the bytes set free. */
  dropVariants(model: string): Promise<{ dropped: number; bytes: number }>;
  /** Builds the default variant of a model (default: the default model) and answers with it; resolves when it is ready. */
  warmUp(model?: string): Promise<void>;
  close(): Promise<void>;
}

/** Why a request was not answered, where nothing was found wrong with it. */
export type RejectionReason = 'overload' | 'power' | 'deadline' | 'disconnect';

/** Called by the service as things happen; metrics and logs hang here, so that serving knows neither. */
export interface ServingObserver {
  onPrediction?(e: {
    model: string;
    version: number;
    bits: number;
    activationBits: number;
    instances: number;
    energyUj: number;
    /** By the version's precision table; null where it was never measured. */
    expectedAccuracy: number | null;
    /** From the call to the logits. */
    totalMs: number;
    /** To read the instances. */
    inputMs: number;
    queueMs: number;
    computeMs: number;
    /** Why its bits were lowered, where they were. */
    degraded?: Degradation['reason'];
  }): void;
  /** One run of the engine, for one request or several. */
  onBatch?(e: {
    model: string;
    version: number;
    bits: number;
    activationBits: number;
    requests: number;
    instances: number;
    computeMs: number;
  }): void;
  /** A request to a version that is there came to no logits. */
  onPredictionFailed?(e: { model: string; version: number; totalMs: number }): void;
  /** An answer was worded: labels, probabilities, bytes. */
  onAnswer?(e: { model: string; version: number; instances: number; outputMs: number }): void;
  onRejected?(e: { reason: RejectionReason }): void;
  onVariantBuilt?(e: {
    model: string;
    version: number;
    bits: number;
    activationBits: number;
    bytes: number;
    buildMs: number;
  }): void;
  onVariantHit?(e: { model: string }): void;
  onVariantEvicted?(e: { model: string; bytes: number; reason: 'space' | 'dropped' }): void;
}

/** Of a request that says both. */
export function versionAndLabel(): ServiceError {
  const [expected, actual] = ['a version or a label', 'both'];
  return new ServiceError('invalid_field', `label: expected ${expected}, got ${actual}`, {
    field: 'label',
    expected,
    actual,
  });
}
