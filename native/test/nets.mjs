/** Nets of random weights for probes, as graphs (src/model/graph.ts). */

export function builder(shape) {
  const weights = new Map();
  const nodes = [{ op: 'input', name: 'input', inputs: [], shape }];
  let at = nodes[0];
  const add = (node) => {
    nodes.push(node);
    at = node;
    return node;
  };
  let seed = 12345;
  const random = (length, scale, offset = 0) => {
    const data = new Float32Array(length);
    for (let i = 0; i < length; i++) {
      let sum = 0;
      for (let j = 0; j < 3; j++) {
        seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
        sum += seed / 4294967296;
      }
      data[i] = (sum - 1.5) * 2 * scale + offset;
    }
    return data;
  };
  const weight = (name, dims, scale, offset) => {
    weights.set(name, {
      shape: dims,
      data: random(
        dims.reduce((a, b) => a * b, 1),
        scale,
        offset,
      ),
    });
    return name;
  };
  const b = {
    conv(out, k = 3, stride = 1, from = at, depthwise = false) {
      const [h, w, c] = from.shape;
      const name = `conv${nodes.length}`;
      const node = add({
        op: depthwise ? 'depthwise_conv2d' : 'conv2d',
        name,
        inputs: [from.name],
        shape: [Math.ceil(h / stride), Math.ceil(w / stride), depthwise ? c : out],
        kernel: weight(
          `${name}/k`,
          depthwise ? [k, k, c, 1] : [k, k, c, out],
          1 / Math.sqrt(k * k * (depthwise ? 1 : c)),
        ),
        kernelSize: [k, k],
        bias: weight(`${name}/b`, [depthwise ? c : out], 0.1),
        strides: [stride, stride],
        dilation: [1, 1],
        padding: 'same',
      });
      return node;
    },
    depthwise: (stride = 1) => b.conv(0, 3, stride, at, true),
    relu: (from = at) =>
      add({ op: 'relu', name: `relu${nodes.length}`, inputs: [from.name], shape: from.shape, maxValue: null }),
    add: (x, y) => add({ op: 'add', name: `add${nodes.length}`, inputs: [x.name, y.name], shape: x.shape }),
    maxPool() {
      const [h, w, c] = at.shape;
      const shape = [h >> 1, w >> 1, c];
      return add({
        op: 'max_pool',
        name: `pool${nodes.length}`,
        inputs: [at.name],
        shape,
        poolSize: [2, 2],
        strides: [2, 2],
        padding: 'valid',
      });
    },
    gap: () => add({ op: 'global_avg_pool', name: `gap${nodes.length}`, inputs: [at.name], shape: [at.shape[2]] }),
    flatten() {
      const length = at.shape.reduce((a, c) => a * c, 1);
      return add({ op: 'reshape', name: `flat${nodes.length}`, inputs: [at.name], shape: [length] });
    },
    dense(units) {
      const name = `dense${nodes.length}`;
      const inputs = at.shape[0];
      return add({
        op: 'dense',
        name,
        inputs: [at.name],
        shape: [units],
        kernel: weight(`${name}/k`, [inputs, units], 1 / Math.sqrt(inputs)),
        bias: weight(`${name}/b`, [units], 0.1),
      });
    },
    last: () => at,
    net: () => ({ graph: { nodes, input: 'input', output: at.name }, weights }),
  };
  return b;
}

function resnet18() {
  const b = builder([32, 32, 3]);
  b.conv(64);
  b.relu();
  for (const [channels, first] of [
    [64, 1],
    [128, 2],
    [256, 2],
    [512, 2],
  ]) {
    for (const stride of [first, 1]) {
      const from = b.last();
      b.conv(channels, 3, stride);
      b.relu();
      const branch = b.conv(channels);
      const skip = stride > 1 ? b.conv(channels, 1, stride, from) : from;
      b.add(branch, skip);
      b.relu();
    }
  }
  b.gap();
  b.dense(10);
  return b.net();
}

function vgg() {
  const b = builder([32, 32, 3]);
  for (const [channels, repeats] of [
    [64, 2],
    [128, 2],
    [256, 3],
    [512, 3],
  ]) {
    for (let i = 0; i < repeats; i++) {
      b.conv(channels);
      b.relu();
    }
    b.maxPool();
  }
  b.flatten();
  b.dense(512);
  b.relu();
  b.dense(10);
  return b.net();
}

function mobilenet() {
  const b = builder([32, 32, 3]);
  b.conv(32);
  b.relu();
  for (const [channels, stride] of [
    [64, 1],
    [128, 2],
    [128, 1],
    [256, 2],
    [256, 1],
    [512, 2],
    [512, 1],
    [512, 1],
    [512, 1],
    [512, 1],
    [512, 1],
    [1024, 2],
    [1024, 1],
  ]) {
    b.depthwise(stride);
    b.relu();
    b.conv(channels, 1);
    b.relu();
  }
  b.gap();
  b.dense(10);
  return b.net();
}

function dense4096() {
  const b = builder([4096]);
  b.dense(4096);
  return b.net();
}

const layer = (size, channels) => () => {
  const b = builder([size, size, channels]);
  b.conv(channels);
  b.relu();
  b.gap();
  return b.net();
};

export const NETS = {
  resnet18,
  vgg,
  mobilenet,
  dense4096,
  conv64: layer(32, 64),
  conv128: layer(16, 128),
  conv256: layer(8, 256),
  conv512: layer(4, 512),
};
