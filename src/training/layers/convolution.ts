import * as tf from '@tensorflow/tfjs-core';
import type { Conv2dNode, DepthwiseConv2dNode, Pair } from '../../model/graph.js';
import { channelSums } from '../../tensorflow/fused.js';
import { runKernel } from './arithmetic.js';
import type { Layer, LayerPass, Tensors } from './layer.js';

type Kernel = tf.Tensor4D;

/**
 * A kernel with dilation − 1 zeros between its taps: a dilated convolution is an ordinary one with it. TF.js has no
 * gradient of dilated convolution, and no stride beside a dilation.
 */
function dilate(kernel: Kernel, [dh, dw]: Pair): Kernel {
  if (dh === 1 && dw === 1) return kernel;
  const [kh, kw, a, b] = kernel.shape;
  const apart = tf.pad(tf.reshape(kernel, [kh, 1, kw, 1, a * b]), [
    [0, 0],
    [0, dh - 1],
    [0, 0],
    [0, dw - 1],
    [0, 0],
  ]);
  const whole = tf.reshape(apart, [kh * dh, kw * dw, a, b]);
  return tf.slice(whole, [0, 0, 0, 0], [(kh - 1) * dh + 1, (kw - 1) * dw + 1, a, b]) as Kernel;
}

/** The taps of a dilated kernel's gradient: the transpose of {@link dilate}. */
function taps(gradient: tf.Tensor, [dh, dw]: Pair): tf.Tensor {
  if (dh === 1 && dw === 1) return gradient;
  return tf.stridedSlice(gradient, [0, 0, 0, 0], gradient.shape, [dh, dw, 1, 1]);
}

interface Names {
  kernel: string;
  bias: string | null;
}

/** What both convolutions share: bias, and the names of the gradients. */
function withBias(
  node: Names,
  weights: Tensors,
  linear: tf.Tensor,
  gradients: (dy: tf.Tensor, needsInputs: boolean) => { x: tf.Tensor | null; kernel: tf.Tensor },
): LayerPass {
  const { kernel, bias } = node;
  return {
    output: bias === null ? linear : tf.add(linear, weights[bias]),
    backward(dy, needsInputs) {
      const { x, kernel: dKernel } = gradients(dy, needsInputs);
      const named: Tensors = { [kernel]: dKernel };
      if (bias !== null) named[bias] = channelSums(dy);
      return { inputs: x === null ? [] : [x], weights: named };
    },
  };
}

export const conv2d: Layer<Conv2dNode> = (node, [x], { weights }) => {
  const { strides, padding: pad, dilation } = node;
  const filter = dilate(weights[node.kernel] as Kernel, dilation);
  const attrs = { strides, pad, dataFormat: 'NHWC' };
  return withBias(node, weights, tf.conv2d(x as tf.Tensor4D, filter, strides, pad), (dy, needsInputs) => ({
    x: needsInputs ? runKernel(tf.Conv2DBackpropInput, { dy, filter }, { ...attrs, inputShape: x.shape }) : null,
    kernel: taps(runKernel(tf.Conv2DBackpropFilter, { x, dy }, { ...attrs, filterShape: filter.shape }), dilation),
  }));
};

export const depthwiseConv2d: Layer<DepthwiseConv2dNode> = (node, [x], { weights }) => {
  const { strides, padding: pad, dilation } = node;
  const filter = dilate(weights[node.kernel] as Kernel, dilation);
  const attrs = { strides, pad, dilations: [1, 1] };
  return withBias(node, weights, tf.depthwiseConv2d(x as tf.Tensor4D, filter, strides, pad), (dy, needsInputs) => ({
    x: needsInputs
      ? runKernel(tf.DepthwiseConv2dNativeBackpropInput, { dy, filter }, { ...attrs, inputShape: x.shape })
      : null,
    kernel: taps(
      runKernel(tf.DepthwiseConv2dNativeBackpropFilter, { x, dy }, { ...attrs, filterShape: filter.shape }),
      dilation,
    ),
  }));
};
