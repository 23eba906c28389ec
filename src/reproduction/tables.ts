/** The records of a study as markdown. */
import { BASE, METHOD_NAMES } from './methods.js';
import { PUBLISHED, type Published, publishedFor } from './published.js';
import { PRECISIONS, type QuantizerName, type RunRecord } from './record.js';
import { belowPlain, type Cell, type Row, summarise, titleOf } from './summary.js';

const QUANTIZERS: [QuantizerName, string][] = [
  [
    'ours',
    'Our quantiser: per-channel weights; clip rule, range factor and bias correction of each precision chosen on images held out of train',
  ],
  ['min-max', "The paper's: per-tensor min-max for weights and activations"],
];

/** `4×4`; `float` for 32×32. */
export function precisionName(key: string): string {
  return key === '32x32' ? 'float' : key.replace('x', '×');
}

/** A section of one study: what was done, a table for each quantiser, where methods lose, and the commands. */
export function studySection(records: readonly RunRecord[]): string {
  const [{ dataset, net, width, mode }] = records;
  const fineTuned = `fine-tuned from one base ${isGiven(records) ? 'for all seeds' : 'a seed'}`;
  const how = mode === 'fine-tuned' ? fineTuned : 'each method from scratch';
  const parts = [`### ${net}${width === 1 ? '' : ` × ${width}`}, ${how}`, introduction(records)];
  for (const [quantizer, title] of QUANTIZERS) {
    parts.push(
      `**${title}**`,
      table(summarise(records, quantizer), publishedFor(dataset, quantizer)),
      losses(records, quantizer),
    );
  }
  parts.push(commands(records));
  return parts.join('\n\n');
}

/** Whether all seeds have one base, which was trained before. */
function isGiven(records: readonly RunRecord[]): boolean {
  return records.some(({ method, command }) => method === BASE && command === null);
}

function introduction(records: readonly RunRecord[]): string {
  const [{ mode, images }] = records;
  const distinct = (values: (string | number | null)[]) => [...new Set(values)].join(', ');
  const trained = records.filter(({ command }) => command !== null);
  const hours = trained.reduce((sum, { duration_s }) => sum + duration_s, 0) / 3600;
  const budget =
    mode === 'fine-tuned'
      ? `Every method goes on from ${isGiven(records) ? 'one base for all seeds' : 'the same base of its seed'} for the same number of epochs, plain training too.`
      : 'Every method trains from first weights for the same number of epochs.';
  return [
    budget,
    `Accuracy in percent on ${images} test images, of which nothing was chosen: the mean over seeds ± half of greatest − least.`,
    `Trained on ${distinct(trained.map(({ examples }) => examples))} images, backend ${distinct(trained.map(({ backend }) => backend))},`,
    `commit ${distinct(trained.map(({ commit }) => commit?.slice(0, 7) ?? 'unknown'))}, ${hours.toFixed(1)} hours of training in all.`,
  ].join('\n');
}

function table(rows: Row[], published: Published[]): string {
  const header = ['method', 'seeds', 'epochs', ...PRECISIONS.map(precisionName)];
  const body = rows.map(({ title, seeds, epochs, cells }) =>
    seeds.length === 0
      ? [title, 'missing', '', ...PRECISIONS.map(() => '')]
      : [title, seeds.join(', '), epochs, ...PRECISIONS.map((key) => cellText(cells[key]))],
  );
  const others = published.map(({ title, accuracies }) => [
    `*published: ${title}*`,
    '',
    '',
    ...PRECISIONS.map((key) => publishedText(accuracies[key])),
  ]);
  const rule = header.map((_, column) => (column < 3 ? '---' : '---:'));
  return [header, rule, ...body, ...others].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

function cellText({ mean, spread }: Cell): string {
  return spread === null ? mean.toFixed(2) : `${mean.toFixed(2)} ± ${spread.toFixed(2)}`;
}

function publishedText(value: Published['accuracies'][string] | undefined): string {
  if (value === undefined) return '';
  return Array.isArray(value) ? value.join('–') : value.toFixed(2);
}

function losses(records: readonly RunRecord[], quantizer: QuantizerName): string {
  const lines = METHOD_NAMES.filter((name) => name !== 'plain' && records.some((r) => r.method === name)).map(
    (name) => {
      const below = belowPlain(records, name, quantizer);
      const where = below
        .map(({ key, points }) => `${precisionName(key)} (−${Math.abs(points).toFixed(2)})`)
        .join(', ');
      return `- ${titleOf(name)}: ${where || 'nowhere'}`;
    },
  );
  if (lines.length === 0 || !records.some(({ method }) => method === 'plain'))
    return 'Nothing to compare with plain yet.';
  return ['Below plain training, in points over the seeds of both:', '', ...lines].join('\n');
}

/** The reproductions, and each training of the first seed by itself. */
function commands(records: readonly RunRecord[]): string {
  const whole = [...new Set(records.map(({ reproduction }) => reproduction))];
  const first = Math.min(...records.map(({ seed }) => seed));
  const order = [BASE, ...METHOD_NAMES];
  const single = records
    .filter(({ seed, command }) => seed === first && command !== null)
    .sort((a, b) => order.indexOf(a.method) - order.indexOf(b.method))
    .map(({ command }) => command as string);
  const block = (lines: string[]) => ['```sh', ...lines, '```'].join('\n');
  return `${block(whole)}\n\nIts trainings by themselves, of seed ${first}:\n\n${block(single)}`;
}

/** Where the published figures come from, once for all tables. */
export function sources(): string {
  const bySource = new Map<string, string[]>();
  for (const { title, source } of PUBLISHED) bySource.set(source, [...(bySource.get(source) ?? []), title]);
  return [...bySource].map(([source, titles]) => `- ${titles.join('; ')}: ${source}.`).join('\n');
}
