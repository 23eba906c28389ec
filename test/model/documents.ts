/** TF.js Layers documents for tests, written by hand. */

export type Json = Record<string, unknown>;

/** A sequential document: an input of the shape, then the layers, given as [class, config]. */
export function sequence(shape: unknown, ...layers: [string, Json][]): Json {
  const all = layers.map(([class_name, config], i) => ({ class_name, config: { name: `l${i + 1}`, ...config } }));
  const input = { class_name: 'InputLayer', config: { name: 'in', batch_input_shape: [null, ...(shape as [])] } };
  return { modelTopology: { class_name: 'Sequential', config: { name: 's', layers: [input, ...all] } } };
}

export const image = (...layers: [string, Json][]) => sequence([8, 8, 4], ...layers);
export const conv = (config: Json) => image(['Conv2D', { filters: 2, kernel_size: 3, ...config }]);

/** A functional document of [name, class, config, inputs]; the last is the output. */
export function functional(...layers: [string, string, Json, unknown[]?][]): Json {
  const config = {
    layers: layers.map(([name, class_name, config, inputs]) => ({
      name,
      class_name,
      config: { name, ...config },
      inbound_nodes: inputs ? [inputs.map((input) => (typeof input === 'string' ? [input, 0, 0, {}] : input))] : [],
    })),
    input_layers: [['in', 0, 0]],
    output_layers: [[layers.at(-1)?.[0], 0, 0]],
  };
  return { modelTopology: { model_config: { class_name: 'Functional', config } } };
}
export const input: [string, string, Json] = ['in', 'InputLayer', { batch_input_shape: [null, 4, 4, 2] }];
