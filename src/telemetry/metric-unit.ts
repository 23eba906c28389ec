/** Units by the word for them in a metric's name, as UCUM writes them. */
const UNITS = { seconds: 's', bytes: 'By', joules: 'J', watts: 'W' } as const;

/** The unit that a metric's name states: its word, and UCUM's sign; a count has none. */
export function unitOf(name: string): { word: string; sign: string } {
  const [, word] = /_(seconds|bytes|joules|watts)(?:_total)?$/.exec(name) ?? [];
  return word === undefined ? { word: '', sign: '1' } : { word, sign: UNITS[word as keyof typeof UNITS] };
}
