import { ServiceError } from '../errors.js';
import { badModel, describe, Fields, isObject, listOf } from './fields.js';
import { type ModelNames, references } from './references.js';

/** One layer of a TF.js Layers document, its connections resolved to names. */
export interface Layer {
  /** Unique in the document: within a model inside a model it begins with that one's name and a slash. */
  name: string;
  /** What its own model calls it, and writers its weights. */
  ownName: string;
  className: string;
  config: Fields;
  /** Names of the layers whose outputs it takes. */
  inputs: string[];
}

/** A Sequential or functional model, seen as the same thing: layers by name, one input, one output. */
export interface Topology {
  layers: Map<string, Layer>;
  input: string;
  output: string;
}

const MODEL_CLASSES = ['Sequential', 'Model', 'Functional'];
const MAX_LAYERS = 10_000;
/** Models within models. */
const MAX_DEPTH = 8;

/** ServiceError `unsupported_layer`, naming layer and class. */
export function unsupported(layer: Pick<Layer, 'name' | 'className'>, what: string): ServiceError {
  return new ServiceError('unsupported_layer', `layer ${describe(layer.name)} (${layer.className}): ${what}`, {
    layer: layer.name,
    class_name: layer.className,
  });
}

/**
 * Finds the layers of a TF.js Layers document: `modelTopology` with or without `model_config` (Keras), or the topology by
 * itself; Sequential with its config as an array or as {layers}, Model and Functional. The layers of a model inside a model
 * take that one's place.
 */
export function readTopology(document: unknown): Topology {
  const outer = new Fields(document, 'model.json');
  const body = outer.get('modelTopology') === undefined ? outer : outer.fields('modelTopology');
  if (outer.get('format') === 'graph-model' || Array.isArray(body.get('node'))) {
    throw badModel('model.json', 'a TF.js layers model (tensorflowjs_converter writes one from Keras)', 'graph-model');
  }
  return readModel(body.get('model_config') === undefined ? body : body.fields('model_config'), []);
}

/** @param path names of the models that it lies in, the outermost first */
function readModel(model: Fields, path: string[]): Topology {
  if (path.length > MAX_DEPTH) throw badModel('model.json: layers', `at most ${MAX_DEPTH} models within models`, path);
  const className = model.choice('class_name', MODEL_CLASSES);
  return className === 'Sequential' ? readSequential(model, path) : readFunctional(model.fields('config'), path);
}

function readSequential(model: Fields, path: string[]): Topology {
  const listed = listOf(model.get('config'));
  const config = listed ? new Fields({ layers: listed }, model.where) : model.fields('config');
  const layers = new Map<string, Layer>();
  let last: string | undefined;
  let first: string | undefined;
  for (const value of limited(config.list('layers'))) {
    const part = readPart(value, path);
    if (first === undefined && !isModel(value) && part.layers.get(part.input)?.className !== 'InputLayer') {
      const input = inputOf(part.layers.get(part.input) as Layer, config.get('build_input_shape'), path.length > 0);
      add(layers, input);
      first = input.name;
      last = first;
    }
    first ??= part.input;
    addPart(layers, part, last === undefined ? undefined : [last], isModel(value));
    last = last !== undefined && isModel(value) && part.output === part.input ? last : part.output;
  }
  if (first === undefined || last === undefined) throw badModel('model.json: layers', 'one layer or more', []);
  return { layers, input: first, output: last };
}

/** The input that a Sequential model leaves out: its shape stands on the first layer, or where the model is called. */
function inputOf(layer: Layer, buildShape: unknown, isInner: boolean): Layer {
  const { config } = layer;
  const batched = config.get('batch_input_shape') ?? config.get('batch_shape');
  const shape = config.get('input_shape');
  const found = batched ?? (shape === undefined ? buildShape : [null, ...(listOf(shape) ?? [])]);
  if (found === undefined && !isInner) throw config.error('batch_input_shape', 'a shape on the first layer');
  const where = `layer "${layer.name}" (input shape)`;
  return {
    name: `${layer.name}_input`,
    ownName: `${layer.ownName}_input`,
    className: 'InputLayer',
    config: new Fields({ batch_input_shape: found }, where),
    inputs: [],
  };
}

function readFunctional(config: Fields, path: string[]): Topology {
  const layers = new Map<string, Layer>();
  const values = limited(config.list('layers'));
  const models: ModelNames = new Set(values.filter(isModel).map((value) => nameOf(value)));
  const within = (name: string) => [...path, name].join('/');
  /** What stands for a name: the output of an inner model, or what an inner model's input is given. */
  const aliases = new Map<string, string>();
  for (const value of values) {
    const part = readPart(value, path);
    const name = within(nameOf(value));
    const nodes = (value as Record<string, unknown>).inbound_nodes ?? [];
    const where = `layer "${name}": inbound_nodes`;
    if (!Array.isArray(nodes)) throw badModel(where, 'an array', nodes);
    if (nodes.length > 1) {
      const called = { name, className: new Fields(value, where).string('class_name') };
      throw unsupported(called, `it is called ${nodes.length} times; a shared layer is not supported`);
    }
    const inputs = nodes.length === 1 ? references(nodes[0], where, models).map(within) : [];
    addPart(layers, part, inputs, isModel(value));
    if (!isModel(value)) continue;
    if (inputs.length !== 1) throw badModel(where, 'one input of a model inside a model', inputs.length);
    if (aliases.has(name)) throw badModel('model.json: layers', 'names that differ', name);
    aliases.set(name, part.output === part.input ? inputs[0] : part.output);
  }
  const resolve = (name: string): string => {
    let found = name;
    for (let steps = 0; aliases.has(found); steps++) {
      if (steps > aliases.size) throw badModel(`layer "${name}": inbound_nodes`, 'no cycle', name);
      found = aliases.get(found) as string;
    }
    return found;
  };
  for (const layer of layers.values()) layer.inputs = layer.inputs.map(resolve);
  const [input, output] = ['input_layers', 'output_layers'].map((end) => within(onlyOne(config, end, models)));
  return { layers, input, output: resolve(output) };
}

/** A layer, or all those of a model inside a model. */
function readPart(value: unknown, path: string[]): Topology {
  if (isModel(value)) return readModel(new Fields(value, 'model.json: layers'), [...path, nameOf(value)]);
  const layer = readLayer(value, path);
  return { layers: new Map([[layer.name, layer]]), input: layer.name, output: layer.name };
}

/** Adds the layers; an inner model's input goes, and what it took is taken from what the model is given. */
function addPart(layers: Map<string, Layer>, part: Topology, given: string[] | undefined, isInner: boolean): void {
  if (isInner && part.layers.get(part.input)?.className !== 'InputLayer') {
    throw badModel('model.json: input_layers', 'the name of an InputLayer', part.input);
  }
  for (const layer of part.layers.values()) {
    if (given === undefined) add(layers, layer);
    else if (!isInner) add(layers, { ...layer, inputs: given });
    else if (layer.name !== part.input) {
      add(layers, { ...layer, inputs: layer.inputs.flatMap((name) => (name === part.input ? given : [name])) });
    }
  }
}

function isModel(value: unknown): boolean {
  return isObject(value) && MODEL_CLASSES.includes(value.class_name as string);
}

function nameOf(value: unknown): string {
  const fields = new Fields(value, 'model.json: layers');
  const named = fields.get('name') === undefined ? fields.fields('config') : fields;
  const name = named.string('name');
  // Names become keys of plain objects (activation ranges) and of metrics.
  if (name.length > 256 || name in {} || /\p{Cc}/u.test(name)) throw named.error('name', 'a plain name');
  return name;
}

function readLayer(value: unknown, path: string[]): Layer {
  const fields = new Fields(value, 'model.json: layers');
  const className = fields.string('class_name');
  const ownName = nameOf(value);
  const name = [...path, ownName].join('/');
  const config = new Fields(fields.get('config'), `layer "${name}" (${className})`);
  return { name, ownName, className, config, inputs: [] };
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
function onlyOne(config: Fields, field: string, models: ModelNames): string {
  const names = references(config.list(field), `model.json: ${field}`, models);
  if (names.length !== 1) {
    throw new ServiceError('bad_model', `model.json: ${field}: expected one, got ${names.length}`, {
      where: field,
      expected: 'one',
      actual: String(names.length),
    });
  }
  return names[0];
}
