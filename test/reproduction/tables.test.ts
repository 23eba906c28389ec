import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { completeStudies, resultsBlock, withBlock, writeDocs } from '../../src/reproduction/docs.js';
import { Records } from '../../src/reproduction/record.js';
import { belowPlain, summarise } from '../../src/reproduction/summary.js';
import { studySection } from '../../src/reproduction/tables.js';
import { record } from './fixtures.js';

let root: string;
before(async () => {
  root = await mkdtemp(join(tmpdir(), 'bitdial-tables-'));
});
after(() => rm(root, { recursive: true }));

const RECORDS = [
  record('base', 1, 0.91),
  record('plain', 1, 0.92),
  record('plain', 2, 0.93, { commit: 'fedcba9876543210' }),
  record('gradient-l1-medium', 2, 0.9258),
  record('qat-4', 1, 0.9),
];

test('mean and spread of each method; a method without records is a row without figures', () => {
  const rows = summarise(RECORDS, 'ours');
  const of = (method: string) => rows.find((row) => row.method === method) ?? assert.fail(method);
  assert.deepEqual(of('plain').seeds, [1, 2]);
  assert.equal(of('plain').epochs, '30 + 6');
  assert.equal(of('base').epochs, '30');
  const { mean, spread } = of('plain').cells['8x8'];
  assert.ok(Math.abs(mean - 91.5) < 1e-9 && Math.abs((spread ?? 0) - 0.5) < 1e-9);
  assert.equal(of('gradient-l1-medium').cells['4x4'].spread, null);
  assert.deepEqual(of('kurtosis'), { method: 'kurtosis', title: 'kurtosis', seeds: [], epochs: '', cells: {} });
  assert.ok(!summarise(RECORDS.slice(1), 'ours').some(({ method }) => method === 'base'));
});

test('losses against plain are over the seeds that both have', () => {
  const worse = belowPlain(RECORDS, 'gradient-l1-medium', 'ours');
  assert.equal(worse.length, 10, 'seed 2 alone: 0.42 below everywhere, though above the mean of plain');
  assert.ok(worse.every(({ points }) => Math.abs(points + 0.42) < 1e-9));
  assert.deepEqual(belowPlain(RECORDS, 'kurtosis', 'ours'), []);
});

const PAGE = `### resnet-20, fine-tuned from one base a seed

Every method goes on from the same base of its seed for the same number of epochs, plain training too.
Accuracy in percent on 10000 test images, of which nothing was chosen: the mean over seeds ± half of greatest − least.
Trained on 47500 images, backend tensorflow,
commit 0123456, fedcba9, 0.5 hours of training in all.

**Our quantiser: per-channel weights; clip rule, range factor and bias correction of each precision chosen on images held out of train**

| method | seeds | epochs | float | 8×8 | 6×6 | 5×5 | 4×4 | 3×3 | 2×2 | 4×8 | 3×8 | 2×8 |
| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| base of all | 1 | 30 | 91.00 | 90.00 | 89.00 | 88.00 | 87.00 | 86.00 | 85.00 | 84.00 | 83.00 | 82.00 |
| plain | 1, 2 | 30 + 6 | 92.50 ± 0.50 | 91.50 ± 0.50 | 90.50 ± 0.50 | 89.50 ± 0.50 | 88.50 ± 0.50 | 87.50 ± 0.50 | 86.50 ± 0.50 | 85.50 ± 0.50 | 84.50 ± 0.50 | 83.50 ± 0.50 |
| gradient l1, weak | missing |  |  |  |  |  |  |  |  |  |  |  |
| gradient l1, medium | 2 | 30 + 6 | 92.58 | 91.58 | 90.58 | 89.58 | 88.58 | 87.58 | 86.58 | 85.58 | 84.58 | 83.58 |
| gradient l1, strong | missing |  |  |  |  |  |  |  |  |  |  |  |
| kurtosis | missing |  |  |  |  |  |  |  |  |  |  |  |
| any-width | missing |  |  |  |  |  |  |  |  |  |  |  |
| gradient l1, medium + kurtosis | missing |  |  |  |  |  |  |  |  |  |  |  |
| gradient l1, medium + any-width | missing |  |  |  |  |  |  |  |  |  |  |  |
| QAT, 4 bits | 1 | 30 + 6 | 90.00 | 89.00 | 88.00 | 87.00 | 86.00 | 85.00 | 84.00 | 83.00 | 82.00 | 81.00 |
| *published: ResNet-20, joint training* |  |  |  |  |  |  | 92.1–93.9 |  | 90.20 |  |  |  |

Below plain training, in points over the seeds of both:

- gradient l1, medium: float (−0.42), 8×8 (−0.42), 6×6 (−0.42), 5×5 (−0.42), 4×4 (−0.42), 3×3 (−0.42), 2×2 (−0.42), 4×8 (−0.42), 3×8 (−0.42), 2×8 (−0.42)
- QAT, 4 bits: float (−2.00), 8×8 (−2.00), 6×6 (−2.00), 5×5 (−2.00), 4×4 (−2.00), 3×3 (−2.00), 2×2 (−2.00), 4×8 (−2.00), 3×8 (−2.00), 2×8 (−2.00)

**The paper's: per-tensor min-max for weights and activations**
`;

test('a study as markdown, to the letter', () => {
  const section = studySection(RECORDS);
  assert.equal(section.slice(0, PAGE.length), PAGE);
  assert.match(
    section,
    /^\| \*published: VGG-like, gradient l1\* \| {2}\| {2}\| {2}\| {2}\| {2}\| {2}\| 85\.99 \| {2}\| {2}\| {2}\| {2}\| {2}\|$/m,
  );
  assert.match(section, /^\| plain \| 1, 2 \| 30 \+ 6 \| 92\.50 ± 0\.50 \| 81\.50 ± 0\.50 \|/m);
  assert.ok(
    section.endsWith(`\`\`\`sh
npm run reproduce -- cifar10 --seeds 2
\`\`\`

Its trainings by themselves, of seed 1:

\`\`\`sh
npm run train -- --method base --seed 1
npm run train -- --method plain --seed 1
npm run train -- --method qat-4 --seed 1
\`\`\``),
    section,
  );
  const better = studySection([record('plain', 1, 0.9), record('kurtosis', 1, 0.95)]);
  assert.match(better, /^- kurtosis: nowhere$/m);
  const other = studySection([record('plain', 1, 0.9, { dataset: 'mnist', width: 0.5, mode: 'from-scratch' })]);
  assert.match(other, /^### resnet-20 × 0\.5, each method from scratch$/m);
  assert.doesNotMatch(other, /published/);
  const given = studySection([record('base', 1, 0.9, { command: null, duration_s: 36_000 }), record('plain', 1, 0.9)]);
  assert.match(given, /^### resnet-20, fine-tuned from one base for all seeds$/m);
  assert.match(given, /^Every method goes on from one base for all seeds for the same number of epochs/m);
  assert.match(given, / 0\.1 hours of training in all\.$/m);
  assert.match(studySection([record('qat-4', 1, 0.9)]), /Nothing to compare with plain yet\./);
});

test('the page keeps all but the generated part', () => {
  const block = resultsBlock([RECORDS]);
  const page = '# Results\n\n## MNIST\n\nBy hand.\n';
  const first = withBlock(page, block);
  assert.equal(first, `${page}\n${block}\n`);
  assert.equal(withBlock(first, block), first);
  const grown = `${first}\n## After\n`;
  assert.equal(
    withBlock(grown, resultsBlock([RECORDS, RECORDS])),
    grown.replace(block, resultsBlock([RECORDS, RECORDS])),
  );
  assert.throws(() => withBlock(first.slice(0, -60), block), /both ends/);
  assert.match(block, /!\[Accuracy against bits\]\(cifar10-accuracy\.svg\)/);
  assert.match(
    block,
    /^- VGG-like, plain; VGG-like, gradient l1; .*: Alizadeh et al\., ICLR 2020, per-tensor min-max\.$/m,
  );
});

test('documentation is written from the records of every study on all images', async () => {
  const studies = join(root, 'cifar10');
  for (const [folder, records] of [
    ['resnet-20/fine-tuned', RECORDS],
    ['vgg-small/fine-tuned', [record('plain', 1, 0.9, { net: 'vgg-small' })]],
    ['resnet-20/fine-tuned-limit10', [record('plain', 1, 0.1, { body: { seed: 1, limit: 10 } })]],
    ['resnet-20/fine-tuned-test10', [record('plain', 1, 0.1, { test_limit: 10 })]],
  ] as const) {
    const store = new Records(join(studies, folder));
    for (const each of records) await store.write(each);
  }
  await mkdir(join(studies, 'resnet-20', 'fine-tuned', 'models'));
  const found = await completeStudies(studies);
  assert.deepEqual(
    found.map((records) => [records[0].net, records.length]),
    [
      ['resnet-20', 5],
      ['vgg-small', 1],
    ],
  );
  assert.deepEqual(await completeStudies(join(root, 'absent')), []);
  const docs = join(root, 'docs');
  await mkdir(docs);
  await writeFile(join(docs, 'RESULTS.md'), '# Results\n');
  await writeDocs(docs, found);
  const page = await readFile(join(docs, 'RESULTS.md'), 'utf8');
  assert.match(page, /### resnet-20, fine-tuned[\s\S]*### vgg-small, fine-tuned/);
  await writeDocs(docs, found);
  assert.equal(await readFile(join(docs, 'RESULTS.md'), 'utf8'), page);
  assert.match(await readFile(join(docs, 'cifar10-accuracy.svg'), 'utf8'), /^<svg /);
});
