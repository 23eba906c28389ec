import type { InputSpec } from './manifest.js';

/** What pixel values 0 and 255 of a channel become; channels are counted in the order that the model takes. */
export function channelRange(spec: Pick<InputSpec, 'range' | 'channel_ranges'>, channel: number): [number, number] {
  return spec.channel_ranges?.[channel] ?? spec.range;
}

/** The channel of an RGB or grey image that the model takes as its channel `channel`. */
export function imageChannel({ shape, channel_order }: Pick<InputSpec, 'shape' | 'channel_order'>, channel: number) {
  return channel_order === 'bgr' ? shape[2] - 1 - channel : channel;
}

export type PixelFiller = (pixels: Uint8Array, target: Float32Array, offset: number) => void;

/**
 * Turns 8-bit pixels, HWC with the channels of an image file, into what the model takes:
 * x = low + p/255·(high − low), channel by channel.
 */
export function pixelFiller(spec: Omit<InputSpec, 'resize'>): PixelFiller {
  const channels = spec.shape[2];
  const alike = spec.channel_ranges === undefined && spec.channel_order === undefined;
  const tables = Array.from({ length: alike ? 1 : channels }, (_, c) => {
    const [low, high] = channelRange(spec, c);
    return Float32Array.from({ length: 256 }, (_, p) => low + (p / 255) * (high - low));
  });
  if (alike) {
    const [table] = tables;
    return (pixels, target, offset) => {
      for (let i = 0; i < pixels.length; i++) target[offset + i] = table[pixels[i]];
    };
  }
  const from = tables.map((_, c) => imageChannel(spec, c));
  return (pixels, target, offset) => {
    for (const [c, table] of tables.entries()) {
      for (let i = 0; i < pixels.length; i += channels) target[offset + i + c] = table[pixels[i + from[c]]];
    }
  };
}

/** {@link pixelFiller} for the images of one request. */
export function fillPixels(pixels: Uint8Array, spec: InputSpec, target: Float32Array, offset: number): void {
  pixelFiller(spec)(pixels, target, offset);
}
