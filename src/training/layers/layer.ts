import type { Tensor } from '@tensorflow/tfjs-core';
import type { GraphNode } from '../../model/graph.js';
import type { Random } from '../random.js';

/** Tensors by name: weights, gradients, moving averages. */
export type Tensors = Record<string, Tensor>;

/** What a layer may read and leave behind while a batch goes through. */
export interface PassContext {
  weights: Tensors;
  /** Batch statistics, or moving averages. */
  training: boolean;
  dropout: boolean;
  /** Of the dropout masks. */
  random: Random;
  /** Filled in training: the batch norms' new moving averages, by weight name. */
  moving: Tensors;
}

export interface LayerGradients {
  /** One for each input of the node. */
  inputs: Tensor[];
  /** By weight name. */
  weights: Tensors;
}

export interface LayerPass {
  output: Tensor;
  /**
   * @param dy gradient of the loss with respect to the output
   * @param needsInputs false where nothing before this layer learns: `inputs` may then be empty
   */
  backward(dy: Tensor, needsInputs: boolean): LayerGradients;
}

/**
 * A layer's forward pass, which gives back its own backward pass. Gradients are written out instead of left to TF.js's
 * tape: its gradients of dilated convolution, of average pooling under padding and of batch norm are missing, wrong or
 * slow, and the regulariser wants the gradient of inner tensors.
 */
export type Layer<N extends GraphNode = GraphNode> = (node: N, inputs: Tensor[], context: PassContext) => LayerPass;
