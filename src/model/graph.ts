/**
 * The topology of a model: a directed acyclic graph of layers, in topological order, as imported from a TF.js Layers
 * `model.json`. Shapes leave out the batch dimension; images are NHWC, so [height, width, channels].
 *
 * Every fused `activation` of a layer is a node of its own here (`conv1` with activation relu becomes `conv1` and
 * `conv1/relu`), a Dense layer on an image is a 1×1 Conv2D, and Softmax can only be the last node.
 */

export type Padding = 'same' | 'valid';
/** [height, width] */
export type Pair = [number, number];

interface NodeBase {
  /** Unique in the graph; also the name of the tensor that the node gives. */
  name: string;
  /** Names of the nodes whose tensors it takes. */
  inputs: string[];
  /** Shape of what it gives, without the batch dimension. */
  shape: number[];
}

export interface InputNode extends NodeBase {
  op: 'input';
}
/** Kernel [kh, kw, cin, cout], bias [cout]. Weight fields name entries of the version's weights. */
export interface Conv2dNode extends NodeBase {
  op: 'conv2d';
  kernel: string;
  kernelSize: Pair;
  bias: string | null;
  strides: Pair;
  dilation: Pair;
  padding: Padding;
}
/** Kernel [kh, kw, c, multiplier], bias [c·multiplier]; output channel k = channel·multiplier + j. */
export interface DepthwiseConv2dNode extends NodeBase {
  op: 'depthwise_conv2d';
  kernel: string;
  kernelSize: Pair;
  bias: string | null;
  strides: Pair;
  dilation: Pair;
  padding: Padding;
}
/** Kernel [in, out], bias [out]; its input has rank 1. */
export interface DenseNode extends NodeBase {
  op: 'dense';
  kernel: string;
  bias: string | null;
}
/** Over the last axis: γ·(x − mean)/√(variance + ε) + β; gamma and beta may be absent (1 and 0). */
export interface BatchNormNode extends NodeBase {
  op: 'batch_norm';
  gamma: string | null;
  beta: string | null;
  mean: string;
  variance: string;
  epsilon: number;
  /** Of the moving averages, in training. */
  momentum: number;
}
/** min(max(x, 0), maxValue); maxValue null is no upper bound, 6 is ReLU6. */
export interface ReluNode extends NodeBase {
  op: 'relu';
  maxValue: number | null;
}
/** Padding positions never win a maximum and never count in an average. */
export interface PoolNode extends NodeBase {
  op: 'max_pool' | 'avg_pool';
  poolSize: Pair;
  strides: Pair;
  padding: Padding;
}
export interface GlobalAvgPoolNode extends NodeBase {
  op: 'global_avg_pool';
}
export interface AddNode extends NodeBase {
  op: 'add';
}
/** `axis` counts from 0 without the batch dimension. */
export interface ConcatNode extends NodeBase {
  op: 'concat';
  axis: number;
}
export interface ZeroPadNode extends NodeBase {
  op: 'zero_pad';
  top: number;
  bottom: number;
  left: number;
  right: number;
}
/** Flatten is a reshape: `shape` says to what. */
export interface ReshapeNode extends NodeBase {
  op: 'reshape';
}
export interface DropoutNode extends NodeBase {
  op: 'dropout';
  rate: number;
}
export interface SoftmaxNode extends NodeBase {
  op: 'softmax';
}

export type GraphNode =
  | InputNode
  | Conv2dNode
  | DepthwiseConv2dNode
  | DenseNode
  | BatchNormNode
  | ReluNode
  | PoolNode
  | GlobalAvgPoolNode
  | AddNode
  | ConcatNode
  | ZeroPadNode
  | ReshapeNode
  | DropoutNode
  | SoftmaxNode;

export interface Graph {
  /** In topological order; the first is the one input. */
  nodes: GraphNode[];
  /** Name of the input node. */
  input: string;
  /** Name of the node whose tensor is the answer (a softmax or the logits). */
  output: string;
}

/** A float32 weight tensor; `data` is row-major. */
export interface FloatTensor {
  shape: number[];
  data: Float32Array;
}
/** All the weights of a version, by the names that the graph's nodes use. */
export type Weights = Map<string, FloatTensor>;
