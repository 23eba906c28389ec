/** The widths that the dial has. 16 is float16 storage, 32 is float32. */
export const WIDTHS = [2, 3, 4, 5, 6, 7, 8, 16, 32] as const;
export type Width = (typeof WIDTHS)[number];

/** Weight bits × activation bits. */
export interface Precision {
  weightBits: Width;
  activationBits: Width;
}

export function isWidth(n: number): n is Width {
  return (WIDTHS as readonly number[]).includes(n);
}

/** `4x8` for 4-bit weights and 8-bit activations: the key of a precision in tables, caches and metrics. */
export function precisionKey(p: Precision): string {
  return `${p.weightBits}x${p.activationBits}`;
}

/** The inverse of {@link precisionKey}; throws on anything else. */
export function parsePrecision(key: string): Precision {
  const [weightBits, activationBits, rest] = key.split('x').map(Number);
  if (rest !== undefined || !isWidth(weightBits) || !isWidth(activationBits)) {
    throw new RangeError(`precision: expected WxA with W and A among ${WIDTHS.join(', ')}, got ${JSON.stringify(key)}`);
  }
  return { weightBits, activationBits };
}

/** True where the integer plan applies: both widths are 2..8. */
export function isInteger(p: Precision): boolean {
  return p.weightBits <= 8 && p.activationBits <= 8;
}

/** The precisions every published version is evaluated at. */
export const STANDARD_PRECISIONS: readonly Precision[] = [
  ...([32, 16, 8, 7, 6, 5, 4, 3, 2] as const).map((b): Precision => ({ weightBits: b, activationBits: b })),
  ...([6, 5, 4, 3, 2] as const).map((b): Precision => ({ weightBits: b, activationBits: 8 })),
];
