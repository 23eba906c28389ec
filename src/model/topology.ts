import { ServiceError } from '../errors.js';
import { badModel, describe, Fields, isObject, listOf } from './fields.js';

/** One layer of a TF.js Layers document, its connections resolved to names. */
export interface Layer {
  name: string;
  className: string;
  config: Fields;
  /** Names of the layers whose outputs it takes. */
  inputs: string[];
}

/** A Sequential or functional document, seen as the same thing: layers by name, one input, one output. */
export interface Topology {
  layers: Map<string, Layer>;
  input: string;
  output: string;
}

const MODEL_CLASSES = ['Sequential', 'Model', 'Functional'];
const MAX_LAYERS = 10_000;

/** ServiceError `unsupported_layer`, naming layer and class. */
export function unsupported(layer: Pick<Layer, 'name' | 'className'>, what: string): ServiceError {
  return new ServiceError('unsupported_layer', `layer ${describe(layer.name)} (${layer.className}): ${what}`, {
    layer: layer.name,
    class_name: layer.className,
  });
}

/**
 * Finds the layers of a TF.js Layers document: `modelTopology` with or without `model_config` (Keras), or the topology by
 * itself; Sequential with its config as an array or as {layers}, Model and Functional.
 */
export function readTopology(document: unknown): Topology {
  const outer = new Fields(document, 'model.json');
  const body = outer.get('modelTopology') === undefined ? outer : outer.fields('modelTopology');
  if (outer.get('format') === 'graph-model' || Array.isArray(body.get('node'))) {
    throw badModel('model.json', 'a TF.js layers model (tensorflowjs_converter writes one from Keras)', 'graph-model');
  }
  const model = body.get('model_config') === undefined ? body : body.fields('model_config');
  const className = model.choice('class_name', MODEL_CLASSES);
  return className === 'Sequential' ? readSequential(model) : readFunctional(model.fields('config'));
}

function readSequential(model: Fields): Topology {
  const listed = listOf(model.get('config'));
  const config = listed ? new Fields({ layers: listed }, model.where) : model.fields('config');
  const layers = new Map<string, Layer>();
  let last: string | undefined;
  let first: string | undefined;
  for (const value of limited(config.list('layers'))) {
    const layer = readLayer(value);
    if (first === undefined && layer.className !== 'InputLayer') {
      const input = inputOf(layer, config.get('build_input_shape'));
      first = input.name;
      add(layers, input);
      last = first;
    }
    first ??= layer.name;
    if (last !== undefined) layer.inputs.push(last);
    add(layers, layer);
    last = layer.name;
  }
  if (first === undefined || last === undefined) throw badModel('model.json: layers', 'one layer or more', []);
  return { layers, input: first, output: last };
}

/** The input that a Sequential model leaves out: its shape stands on the first layer. */
function inputOf(layer: Layer, buildShape: unknown): Layer {
  const { config } = layer;
  const batched = config.get('batch_input_shape') ?? config.get('batch_shape');
  const shape = config.get('input_shape');
  const found = batched ?? (shape === undefined ? buildShape : [null, ...(listOf(shape) ?? [])]);
  if (found === undefined) throw config.error('batch_input_shape', 'a shape on the first layer');
  const where = `layer "${layer.name}" (input shape)`;
  return {
    name: `${layer.name}_input`,
    className: 'InputLayer',
    config: new Fields({ batch_input_shape: found }, where),
    inputs: [],
  };
}

function readFunctional(config: Fields): Topology {
  const layers = new Map<string, Layer>();
  for (const value of limited(config.list('layers'))) {
    const layer = readLayer(value);
    const nodes = (value as Record<string, unknown>).inbound_nodes ?? [];
    const where = `layer "${layer.name}": inbound_nodes`;
    if (!Array.isArray(nodes)) throw badModel(where, 'an array', nodes);
    if (nodes.length > 1)
      throw unsupported(layer, `it is called ${nodes.length} times; a shared layer is not supported`);
    if (nodes.length === 1) layer.inputs = references(nodes[0], where);
    add(layers, layer);
  }
  return { layers, input: onlyOne(config, 'input_layers'), output: onlyOne(config, 'output_layers') };
}

function readLayer(value: unknown): Layer {
  const fields = new Fields(value, 'model.json: layers');
  const className = fields.string('class_name');
  const named = fields.get('name') === undefined ? fields.fields('config') : fields;
  const name = named.string('name');
  // Names become keys of plain objects (activation ranges) and of metrics.
  if (name.length > 256 || name in {} || /\p{Cc}/u.test(name)) throw named.error('name', 'a plain name');
  if (MODEL_CLASSES.includes(className)) {
    throw unsupported({ name, className }, 'a model inside a model is not supported; flatten it before the export');
  }
  return { name, className, config: new Fields(fields.get('config'), `layer "${name}" (${className})`), inputs: [] };
}

function add(layers: Map<string, Layer>, layer: Layer): void {
  if (layers.has(layer.name)) throw badModel('model.json: layers', 'names that differ', layer.name);
  layers.set(layer.name, layer);
}

function limited(list: unknown[]): unknown[] {
  if (list.length > MAX_LAYERS) throw badModel('model.json: layers', `at most ${MAX_LAYERS} layers`, list);
  return list;
}

/** [["name", 0, 0]], or ["name", 0, 0] as Keras 3 writes it. */
function onlyOne(config: Fields, field: string): string {
  const names = references(config.list(field), `model.json: ${field}`);
  if (names.length !== 1) {
    throw new ServiceError('bad_model', `model.json: ${field}: expected one, got ${names.length}`, {
      where: field,
      expected: 'one',
      actual: String(names.length),
    });
  }
  return names[0];
}

/**
 * Names of the layers that one call of a layer takes. Keras 2 and TF.js: [["a", 0, 0, {}], …], or one such entry by itself;
 * Keras 3: {args: [tensor | tensor[]]}, each tensor {class_name: "__keras_tensor__", config: {keras_history: ["a", 0, 0]}}.
 */
function references(call: unknown, where: string): string[] {
  if (isObject(call)) {
    if (!Array.isArray(call.args)) throw badModel(`${where}: args`, 'an array', call.args);
    return call.args.flat(1).map((tensor) => {
      const fields = new Fields(tensor, `${where}: args`);
      return reference(fields.fields('config').list('keras_history'), where);
    });
  }
  if (!Array.isArray(call)) throw badModel(where, 'an array of [layer, node, tensor]', call);
  if (typeof call[0] === 'string') return [reference(call, where)];
  return call.map((entry) => reference(entry, where));
}

function reference(entry: unknown, where: string): string {
  if (!Array.isArray(entry) || typeof entry[0] !== 'string') throw badModel(where, '[layer, node, tensor]', entry);
  const [name, node = 0, tensor = 0] = entry;
  if (node !== 0 || tensor !== 0) {
    throw badModel(where, `node 0 and tensor 0 of layer "${name}" (it is called once)`, [node, tensor]);
  }
  return name;
}
