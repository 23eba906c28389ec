import { badModel, Fields, isObject } from './fields.js';

/** Models inside a document: Keras counts their own call, on the input they were made with, as node 0. */
export type ModelNames = ReadonlySet<string>;

/**
 * Names of the layers that one call of a layer takes. Keras 2 and TF.js: [["a", 0, 0, {}], …], or one such entry by itself;
 * Keras 3: {args: [tensor | tensor[]]}, each tensor {class_name: "__keras_tensor__", config: {keras_history: ["a", 0, 0]}}.
 */
export function references(call: unknown, where: string, models: ModelNames): string[] {
  if (isObject(call)) {
    if (!Array.isArray(call.args)) throw badModel(`${where}: args`, 'an array', call.args);
    return call.args.flat(1).map((tensor) => {
      const fields = new Fields(tensor, `${where}: args`);
      return reference(fields.fields('config').list('keras_history'), where, models);
    });
  }
  if (!Array.isArray(call)) throw badModel(where, 'an array of [layer, node, tensor]', call);
  if (typeof call[0] === 'string') return [reference(call, where, models)];
  return call.map((entry) => reference(entry, where, models));
}

function reference(entry: unknown, where: string, models: ModelNames): string {
  if (!Array.isArray(entry) || typeof entry[0] !== 'string') throw badModel(where, '[layer, node, tensor]', entry);
  const [name, node = 0, tensor = 0] = entry;
  const once = node === 0 || (node === 1 && models.has(name));
  if (!once || tensor !== 0) {
    throw badModel(where, `node 0 and tensor 0 of layer "${name}" (it is called once)`, [node, tensor]);
  }
  return name;
}
