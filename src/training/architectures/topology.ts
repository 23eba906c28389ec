/** Words to write a TF.js Layers `model.json` topology with, as its converter would. */

interface LayerDocument {
  class_name: string;
  config: Record<string, unknown>;
}

export function sequential(
  name: string,
  inputShape: readonly number[],
  layers: LayerDocument[],
): Record<string, unknown> {
  const [first, ...rest] = layers;
  const batch_input_shape = [null, ...inputShape];
  const all = [{ ...first, config: { ...first.config, batch_input_shape, dtype: 'float32' } }, ...rest];
  return {
    format: 'layers-model',
    generatedBy: 'bitdial',
    convertedBy: null,
    modelTopology: {
      class_name: 'Sequential',
      config: { name, layers: all },
      keras_version: 'tfjs-layers 4.22.0',
      backend: 'tensor_flow.js',
    },
  };
}

export function conv2d(
  name: string,
  filters: number,
  size: number,
  padding: 'same' | 'valid',
  activation: string,
): LayerDocument {
  return {
    class_name: 'Conv2D',
    config: {
      name,
      filters,
      kernel_size: [size, size],
      strides: [1, 1],
      padding,
      data_format: 'channels_last',
      dilation_rate: [1, 1],
      activation,
      use_bias: true,
    },
  };
}

export function maxPool(name: string, size: number): LayerDocument {
  const pair = [size, size];
  const config = { name, pool_size: pair, strides: pair, padding: 'valid', data_format: 'channels_last' };
  return { class_name: 'MaxPooling2D', config };
}

export function flatten(name: string): LayerDocument {
  return { class_name: 'Flatten', config: { name } };
}

export function dense(name: string, units: number, activation: string): LayerDocument {
  return { class_name: 'Dense', config: { name, units, activation, use_bias: true } };
}

export function activation(name: string, activation: string): LayerDocument {
  return { class_name: 'Activation', config: { name, activation } };
}
