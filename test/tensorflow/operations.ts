/** The addon's operations of training, written plainly, in float64. */

/** Sizes in the order of the addon's words. */
export interface Window {
  batch: number;
  inHeight: number;
  inWidth: number;
  inChannels: number;
  outHeight: number;
  outWidth: number;
  outChannels: number;
  height: number;
  width: number;
  strideY: number;
  strideX: number;
  top: number;
  left: number;
}

type Numbers = ArrayLike<number>;

/** Calls visit(output pixel, input pixel, tap) for every position of every window that lies in its image. */
export function sweep(w: Window, visit: (output: number, input: number, tap: number) => void): void {
  for (let n = 0; n < w.batch; n++) {
    for (let oy = 0; oy < w.outHeight; oy++) {
      for (let ox = 0; ox < w.outWidth; ox++) {
        const output = (n * w.outHeight + oy) * w.outWidth + ox;
        for (let ky = 0; ky < w.height; ky++) {
          for (let kx = 0; kx < w.width; kx++) {
            const y = oy * w.strideY + ky - w.top;
            const x = ox * w.strideX + kx - w.left;
            if (y < 0 || y >= w.inHeight || x < 0 || x >= w.inWidth) continue;
            visit(output, (n * w.inHeight + y) * w.inWidth + x, ky * w.width + kx);
          }
        }
      }
    }
  }
}

const inSize = (w: Window) => w.batch * w.inHeight * w.inWidth * w.inChannels;
const outSize = (w: Window) => w.batch * w.outHeight * w.outWidth * w.outChannels;

/** Calls term(index in x, index in w, index in y) for every product of a convolution. */
function products(w: Window, depthwise: boolean, term: (x: number, w: number, y: number) => void): void {
  const { inChannels, outChannels } = w;
  sweep(w, (output, input, tap) => {
    for (let o = 0; o < outChannels; o++) {
      if (depthwise) term(input * inChannels + o, tap * inChannels + o, output * outChannels + o);
      else {
        for (let i = 0; i < inChannels; i++) {
          term(input * inChannels + i, (tap * inChannels + i) * outChannels + o, output * outChannels + o);
        }
      }
    }
  });
}

export function convolution(w: Window, depthwise: boolean, x: Numbers, filter: Numbers): Float64Array {
  const y = new Float64Array(outSize(w));
  products(w, depthwise, (i, k, o) => {
    y[o] += x[i] * filter[k];
  });
  return y;
}

export function inputGradient(w: Window, depthwise: boolean, dy: Numbers, filter: Numbers): Float64Array {
  const dx = new Float64Array(inSize(w));
  products(w, depthwise, (i, k, o) => {
    dx[i] += dy[o] * filter[k];
  });
  return dx;
}

export function filterGradient(w: Window, depthwise: boolean, x: Numbers, dy: Numbers): Float64Array {
  const dw = new Float64Array(w.height * w.width * w.inChannels * (depthwise ? 1 : w.outChannels));
  products(w, depthwise, (i, k, o) => {
    dw[k] += x[i] * dy[o];
  });
  return dw;
}

/** a [m, k] or its transpose, b [k, n] or its transpose. */
export function product(
  m: number,
  k: number,
  n: number,
  a: Numbers,
  b: Numbers,
  transposeA: boolean,
  transposeB: boolean,
) {
  const out = new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      for (let l = 0; l < k; l++) {
        out[i * n + j] += a[transposeA ? l * m + i : i * k + l] * b[transposeB ? j * k + l : l * n + j];
      }
    }
  }
  return out;
}

/** Where the greatest of each window lies, the first of equals; or else the first that is no number. */
function greatest(w: Window, x: Numbers): Int32Array {
  const at = new Int32Array(outSize(w)).fill(-1);
  sweep(w, (output, input) => {
    for (let c = 0; c < w.outChannels; c++) {
      const to = output * w.outChannels + c;
      const from = input * w.inChannels + c;
      const best = at[to] < 0 ? Number.NEGATIVE_INFINITY : x[at[to]];
      if (at[to] < 0 || x[from] > best || (Number.isNaN(x[from]) && !Number.isNaN(best))) at[to] = from;
    }
  });
  return at;
}

export function maxPool(w: Window, x: Numbers): Float64Array {
  return Float64Array.from(greatest(w, x), (at) => x[at]);
}

export function maxPoolGradient(w: Window, x: Numbers, dy: Numbers): Float64Array {
  const dx = new Float64Array(inSize(w));
  for (const [i, at] of greatest(w, x).entries()) dx[at] += dy[i];
  return dx;
}

/** Means over the pixels of [pixels, channels]. */
function means(values: Numbers, channels: number): Float64Array {
  const sums = new Float64Array(channels);
  for (let i = 0; i < values.length; i++) sums[i % channels] += values[i];
  return sums.map((sum) => (sum * channels) / values.length);
}

export function channelSums(x: Numbers, channels: number): Float64Array {
  return means(x, channels).map((mean) => (mean * x.length) / channels);
}

export function batchNorm(x: Numbers, gamma: Numbers, beta: Numbers, epsilon: number) {
  const channels = gamma.length;
  const mean = means(x, channels);
  const centred = Float64Array.from(x, (v, i) => v - mean[i % channels]);
  const variance = means(
    centred.map((v) => v * v),
    channels,
  );
  const normal = centred.map((v, i) => v / Math.sqrt(variance[i % channels] + epsilon));
  const y = normal.map((v, i) => v * gamma[i % channels] + beta[i % channels]);
  const backward = (dy: Numbers) => {
    const byNormal = Float64Array.from(dy, (d, i) => d * normal[i]);
    const [meanDy, meanProduct] = [means(dy, channels), means(byNormal, channels)];
    const dx = Float64Array.from(dy, (d, i) => {
      const c = i % channels;
      return (gamma[c] / Math.sqrt(variance[c] + epsilon)) * (d - meanDy[c] - normal[i] * meanProduct[c]);
    });
    return { dx, dGamma: channelSums(byNormal, channels), dBeta: channelSums(dy, channels) };
  };
  return { y, mean, variance, backward };
}
