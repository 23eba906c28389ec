/** Before anything is timed: all sides compute the same function. */

/** ‖a − b‖ / ‖b‖ */
export function relativeError(a, b) {
  if (a.length !== b.length) throw new Error(`expected ${b.length} numbers, got ${a.length}`);
  let difference = 0;
  let size = 0;
  for (let i = 0; i < a.length; i++) {
    difference += (a[i] - b[i]) ** 2;
    size += b[i] ** 2;
  }
  return Math.sqrt(difference / size);
}

/** Float engines sum in other orders; 8 bits round every tensor, 4-bit blocks every weight. */
const FLOAT_LIMIT = 1e-4;
const INT8_LIMIT = 0.1;

/**
 * @param list contestants of one net at one batch; `ort fp32` is what the others are measured by
 * @returns the relative error of each
 * @throws Error where a float32 net or an 8-bit one is not the same function
 */
export async function verify(net, list) {
  const truth = await list.find((c) => c.name === 'ort fp32').run();
  const copy = Float32Array.from(truth);
  const errors = {};
  for (const contestant of list) {
    const { name } = contestant;
    errors[name] = relativeError(await contestant.run(), copy);
    const isFloat = name === 'ours 32x32' || name === 'tfjs wasm';
    const isByte = name === 'ours 8x8' || name.startsWith('ort int8') || name.startsWith('ort MatMulNBits 8');
    const limit = isFloat ? FLOAT_LIMIT : isByte ? INT8_LIMIT : Number.POSITIVE_INFINITY;
    if (!(errors[name] <= limit)) {
      throw new Error(`${net.name}: ${name} differs from ort fp32 by ${errors[name]}, expected at most ${limit}`);
    }
  }
  return errors;
}
