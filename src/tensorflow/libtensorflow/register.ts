/** libtensorflow has more operations than TF.js has kernels: these run them by name through tfjs-node's binding. */
import * as tf from '@tensorflow/tfjs-core';
import {
  BATCH_NORM_TRAINING,
  BATCH_NORM_TRAINING_GRAD,
  BOUNDED_RELU,
  CHANNEL_SUMS,
  FAKE_QUANTIZE,
  FAKE_QUANTIZE_GRAD,
  RELU_GRAD,
  SQUARE_SUM,
} from '../fused.js';

interface OpAttribute {
  name: string;
  type: number;
  value: unknown;
}

/** What of tfjs-node's backend is used here; the binding's constants name attribute types. */
interface NodeBackend extends tf.KernelBackend {
  binding: Record<
    'TF_ATTR_TYPE' | 'TF_ATTR_INT' | 'TF_ATTR_FLOAT' | 'TF_ATTR_STRING' | 'TF_ATTR_BOOL' | 'TF_FLOAT',
    number
  >;
  executeMultipleOutputs(op: string, attributes: OpAttribute[], inputs: tf.Tensor[], outputs: number): tf.Tensor[];
}

type Inputs = Record<string, tf.Tensor>;
type Attributes = Record<string, number>;
type Run = (inputs: Inputs, attributes: Attributes, backend: NodeBackend) => tf.Tensor[];

const KERNELS: Record<string, Run> = {
  [BATCH_NORM_TRAINING]({ x, gamma, beta }, { epsilon }, backend) {
    const none = tf.tensor1d([], 'float32');
    const attributes = batchNormAttributes(backend, epsilon);
    const inputs = [images(x), gamma, beta, none, none];
    const [y, mean, unbiased, ...saved] = backend.executeMultipleOutputs('FusedBatchNormV3', attributes, inputs, 6);
    const count = x.size / x.shape[x.rank - 1];
    // The operation gives the variance for moving averages by Bessel's correction.
    return [tf.reshape(y, x.shape), mean, tf.mul(unbiased, (count - 1) / count), ...saved];
  },
  [BATCH_NORM_TRAINING_GRAD]({ dy, x, gamma, saved0, saved1, saved2 }, { epsilon }, backend) {
    const attributes = batchNormAttributes(backend, epsilon);
    const inputs = [images(dy), images(x), gamma, saved0, saved1, saved2];
    const [dx, dGamma, dBeta] = backend.executeMultipleOutputs('FusedBatchNormGradV3', attributes, inputs, 5);
    return [tf.reshape(dx, x.shape), dGamma, dBeta];
  },
  [BOUNDED_RELU]: ({ x }, { top }) => [top === 6 ? tf.relu6(x) : tf.minimum(tf.relu(x), top)],
  [RELU_GRAD]({ dy, y }, { top }, backend) {
    const name = top === 6 ? 'Relu6Grad' : 'ReluGrad';
    const passed = backend.executeMultipleOutputs(name, [type(backend, 'T')], [dy, y], 1);
    const done = top === 6 || top === Number.POSITIVE_INFINITY;
    return done ? passed : [tf.mul(passed[0], tf.step(tf.sub(top, y)))];
  },
  [CHANNEL_SUMS]({ x }, _, backend) {
    const attributes = [type(backend, 'T'), text(backend, 'data_format', 'NHWC')];
    return backend.executeMultipleOutputs('BiasAddGrad', attributes, [x], 1);
  },
  [SQUARE_SUM]({ x }, _, backend) {
    const [half] = backend.executeMultipleOutputs('L2Loss', [type(backend, 'T')], [x], 1);
    return [tf.mul(half, 2)];
  },
  [FAKE_QUANTIZE]: ({ x }, attributes, backend) =>
    backend.executeMultipleOutputs('FakeQuantWithMinMaxArgs', range(backend, attributes), [x], 1),
  [FAKE_QUANTIZE_GRAD]: ({ dy, x }, attributes, backend) =>
    backend.executeMultipleOutputs('FakeQuantWithMinMaxArgsGradient', range(backend, attributes), [dy, x], 1),
};

let done = false;

/** To be called once the backend is up. */
export function registerLibtensorflowKernels(): void {
  if (done) return;
  done = true;
  for (const [kernelName, run] of Object.entries(KERNELS)) {
    tf.registerKernel({
      kernelName,
      backendName: 'tensorflow',
      kernelFunc({ inputs, attrs, backend }) {
        return tf.tidy(() => run(inputs as Inputs, (attrs ?? {}) as unknown as Attributes, backend as NodeBackend));
      },
    });
  }
}

/** Batch norm's operation takes images: any other rank becomes a column of pixels. */
function images(x: tf.Tensor): tf.Tensor {
  if (x.rank === 4) return x;
  const channels = x.shape[x.rank - 1];
  return tf.reshape(x, [x.size / channels, 1, 1, channels]);
}

function batchNormAttributes(backend: NodeBackend, epsilon: number): OpAttribute[] {
  const { TF_ATTR_FLOAT, TF_ATTR_BOOL } = backend.binding;
  return [
    type(backend, 'T'),
    type(backend, 'U'),
    { name: 'epsilon', type: TF_ATTR_FLOAT, value: epsilon },
    text(backend, 'data_format', 'NHWC'),
    { name: 'is_training', type: TF_ATTR_BOOL, value: true },
  ];
}

function range({ binding }: NodeBackend, { low, high, bits }: Attributes): OpAttribute[] {
  return [
    { name: 'min', type: binding.TF_ATTR_FLOAT, value: low },
    { name: 'max', type: binding.TF_ATTR_FLOAT, value: high },
    { name: 'num_bits', type: binding.TF_ATTR_INT, value: bits },
    { name: 'narrow_range', type: binding.TF_ATTR_BOOL, value: false },
  ];
}

function type({ binding }: NodeBackend, name: string): OpAttribute {
  return { name, type: binding.TF_ATTR_TYPE, value: binding.TF_FLOAT };
}

function text({ binding }: NodeBackend, name: string, value: string): OpAttribute {
  return { name, type: binding.TF_ATTR_STRING, value };
}
