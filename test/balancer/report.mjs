/** What was promised and what was measured, one row each. */
export class Report {
  constructor() {
    this.rows = [];
  }

  /** @param holds whether the promise does */
  add(promise, measured, holds) {
    this.rows.push({ promise, measured, holds });
    console.error(`${holds ? 'holds ' : 'BROKEN'}  ${promise}: ${measured}`);
  }

  get broken() {
    return this.rows.filter(({ holds }) => !holds).length;
  }

  table() {
    const width = (key) => Math.max(...this.rows.map((row) => row[key].length), key.length);
    const [a, b] = [width('promise'), width('measured')];
    const line = (promise, measured, end) => `| ${promise.padEnd(a)} | ${measured.padEnd(b)} | ${end} |`;
    const rows = this.rows.map(({ promise, measured, holds }) => line(promise, measured, holds ? 'yes  ' : 'NO   '));
    return [line('promise', 'measured', 'holds'), `|${'-'.repeat(a + 2)}|${'-'.repeat(b + 2)}|-------|`, ...rows].join(
      '\n',
    );
  }
}
