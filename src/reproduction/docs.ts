/** Puts the tables and the picture of all studies of a data set into the documentation. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { replaceFile } from '../model/durable.js';
import { accuracyChart } from './chart.js';
import { Records, type RunRecord } from './record.js';
import { sources, studySection } from './tables.js';

const PICTURE = 'cifar10-accuracy.svg';
const BEGIN = '<!-- from here: written by `npm run reproduce -- cifar10` -->';
const END = '<!-- to here: written by `npm run reproduce -- cifar10` -->';

/** The records of every study under a folder (`<net>/<mode>`), those on all images alone. */
export async function completeStudies(root: string): Promise<RunRecord[][]> {
  const studies: RunRecord[][] = [];
  for (const net of await folders(root)) {
    for (const mode of await folders(join(root, net))) {
      const records = await new Records(join(root, net, mode)).all();
      const whole = records.every(({ test_limit, body }) => test_limit === null && body?.limit === undefined);
      if (records.length > 0 && whole) studies.push(records);
    }
  }
  return studies;
}

async function folders(path: string): Promise<string[]> {
  const entries = await readdir(path, { withFileTypes: true }).catch(() => []);
  return entries.flatMap((entry) => (entry.isDirectory() ? [entry.name] : [])).sort();
}

/** The CIFAR-10 part of docs/RESULTS.md. */
export function resultsBlock(studies: readonly RunRecord[][]): string {
  const introduction = `One stored float set a row, quantised to every width without retraining; every layer is quantised, the first and the last
too; the input image has 8 bits, the logits are float. Batch norm is folded first. Activation ranges come from training images.

![Accuracy against bits](${PICTURE})`;
  const parts = ['## CIFAR-10', introduction, ...studies.map(studySection), `Published figures:\n\n${sources()}`];
  return [BEGIN, '', parts.join('\n\n'), '', END].join('\n');
}

/**
 * The page with the block in place of the last one; at its end where it has none.
 * @throws Error where the page has one of the block's ends alone
 */
export function withBlock(page: string, block: string): string {
  const [from, to] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (from === -1 && to === -1) return `${page.trimEnd()}\n\n${block}\n`;
  if (from === -1 || to < from)
    throw new Error(`RESULTS.md: expected both ends of the generated part, got one: ${BEGIN} … ${END}`);
  return page.slice(0, from) + block + page.slice(to + END.length);
}

/** Writes RESULTS.md and the picture. */
export async function writeDocs(folder: string, studies: readonly RunRecord[][]): Promise<void> {
  const page = join(folder, 'RESULTS.md');
  await replaceFile(page, withBlock(await readFile(page, 'utf8'), resultsBlock(studies)));
  await replaceFile(join(folder, PICTURE), accuracyChart(studies));
}
