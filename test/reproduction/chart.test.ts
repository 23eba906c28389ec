import assert from 'node:assert/strict';
import { test } from 'node:test';
import { accuracyChart } from '../../src/reproduction/chart.js';
import { record } from './fixtures.js';

/** Tags that are opened and closed, each within the other. */
function checkNesting(svg: string) {
  const open: string[] = [];
  for (const [, close, name, rest] of svg.matchAll(/<(\/?)(\w+)([^>]*)>/g)) {
    if (close) assert.equal(open.pop(), name);
    else if (!rest.endsWith('/')) open.push(name);
  }
  assert.deepEqual(open, []);
}

const lines = (svg: string) =>
  [...svg.matchAll(/<polyline points="([^"]*)"[^>]*stroke="([^"]*)"/g)].map(([, points, colour]) => ({
    colour,
    points: points.split(' ').map((point) => point.split(',').map(Number)),
  }));

test('a panel for each study and quantiser, a line for each method, from 2 bits to float', () => {
  const resnet = [record('plain', 1, 0.92), record('plain', 2, 0.94), record('qat-4', 1, 0.9), record('base', 1, 0.9)];
  const svg = accuracyChart([resnet, [record('kurtosis', 1, 0.8, { net: 'vgg-small' })]]);
  checkNesting(svg);
  assert.doesNotMatch(svg, /NaN|undefined|Infinity/);
  for (const heading of ['resnet-20, per-tensor min-max', 'resnet-20, our quantiser', 'vgg-small, our quantiser']) {
    assert.ok(svg.includes(`>${heading}</text>`), heading);
  }
  const all = lines(svg);
  assert.equal(all.length, 6, 'the base is no line');
  for (const { points } of all) {
    assert.equal(points.length, 7);
    const [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)];
    assert.deepEqual(
      xs,
      [...xs].sort((a, b) => a - b),
    );
    // The fixtures lose with each precision, so lines rise with bits; up is a smaller y.
    for (let i = 1; i < 6; i++) assert.ok(ys[i] < ys[i - 1], `${ys}`);
    assert.ok(points.flat().every((v) => v > 0 && v < 430));
  }
  // A spread is drawn where there is more than one seed: seven bars in each of two panels.
  assert.equal(svg.match(/<line [^>]*stroke="#000000"\/>/g)?.length, 14);
  // 4 figures of the paper under min-max, 3 ceilings under ours, in both studies, and the legend's one.
  assert.equal(svg.match(/<polygon /g)?.length, 15);
});

test('a study of a base alone has axes and no lines', () => {
  const svg = accuracyChart([[record('base', 1, 0.9, { dataset: 'mnist' })]]);
  checkNesting(svg);
  assert.doesNotMatch(svg, /NaN|undefined|Infinity/);
  assert.deepEqual(lines(svg), []);
  assert.ok(svg.includes('>float</text>'));
});

test('a point lies where its accuracy says', () => {
  const svg = accuracyChart([[record('plain', 1, 0.95, { dataset: 'mnist' })]]);
  assert.doesNotMatch(svg, /polygon/);
  const [, ours] = lines(svg);
  const gridOf = (value: number) => {
    const grid = [...svg.matchAll(/<text x="46" y="([\d.]+)" text-anchor="end">(\d+)</g)];
    return Number(grid.findLast(([, , label]) => Number(label) === value)?.[1]) - 4;
  };
  const [top, low] = [gridOf(100), gridOf(80)];
  // 3×3 is the sixth precision of the fixtures: 0.95 − 0.05.
  const [, y] = ours.points[1];
  assert.ok(Math.abs(y - (low + ((top - low) * (90 - 80)) / 20)) < 0.2, `${y} between ${top} and ${low}`);
});
