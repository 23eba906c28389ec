import type { ArenaSlice } from './plan.js';

const ALIGNMENT = 4;

/** Lays out a variant's memory: first every slice is asked for, then one buffer of just that size holds them all. */
export class ArenaLayout {
  private size = 0;

  /** Room for `length` elements of `elementBytes` each; slices start on 4 bytes. */
  add(length: number, elementBytes: number): ArenaSlice {
    const byteOffset = this.size;
    this.size += Math.ceil((length * elementBytes) / ALIGNMENT) * ALIGNMENT;
    return { byteOffset, length };
  }

  /** Bytes asked for so far. */
  get bytes(): number {
    return this.size;
  }

  /** A zeroed buffer for all slices; shared, so that other threads read the same bytes. */
  allocate(): SharedArrayBuffer {
    return new SharedArrayBuffer(this.size);
  }
}

export function bytesAt(arena: SharedArrayBuffer, slice: ArenaSlice): Uint8Array {
  return new Uint8Array(arena, slice.byteOffset, slice.length);
}
export function floatsAt(arena: SharedArrayBuffer, slice: ArenaSlice): Float32Array {
  return new Float32Array(arena, slice.byteOffset, slice.length);
}
export function intsAt(arena: SharedArrayBuffer, slice: ArenaSlice): Int32Array {
  return new Int32Array(arena, slice.byteOffset, slice.length);
}
