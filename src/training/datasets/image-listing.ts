/** The files of an image folder: which class each is of, and which part it belongs to. */
import { createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { type Entry, entriesOf } from './entries.js';
import { badDataset, namesIn } from './faults.js';

/** Folders whose sub-folders are the classes. */
export interface ImagesLayout {
  kind: 'images';
  train: Folder;
  /** Null: carved from train. */
  validation: Folder | null;
  test: Folder | null;
}

interface Folder {
  path: string;
  /** As errors and records name it, with a slash at the end; empty for the data set's own. */
  prefix: string;
}

export interface ImageFile {
  /** Relative to the data set's folder. */
  name: string;
  label: number;
  part: Part;
  size: number;
  mtimeMs: number;
}

export type Part = 'train' | 'validation' | 'test';
type CarvedPart = Exclude<Part, 'train'>;
type Draws = Record<CarvedPart, number>;

export const TEST_SHARE = 0.1;
const TEST_NAMES = ['test', 'testing'];
const VALIDATION_NAMES = ['val', 'valid', 'validation'];
const MOST_CLASSES = 10_000;
const DRAWS_A_TURN = 500;

/** Null where the folder has no sub-folders. */
export async function findImages(path: string, entries: readonly Entry[]): Promise<ImagesLayout | null> {
  const folders = entries.filter(({ isFolder }) => isFolder);
  if (folders.length === 0) return null;
  const named = (names: string[]) => folders.find(({ name }) => names.includes(name.toLowerCase()));
  const [train, test, validation] = [named(['train', 'training']), named(TEST_NAMES), named(VALIDATION_NAMES)];
  const inside = train && (test || validation) ? await entriesOf(train.path, train.name) : [];
  if (!train || !inside.some(({ isFolder }) => isFolder)) {
    return { kind: 'images', train: { path, prefix: '' }, validation: null, test: null };
  }
  const part = (entry: Entry): Folder => ({ path: entry.path, prefix: `${entry.name}/` });
  // A validation part alone is what there is to report on.
  const heldOut = test ?? validation;
  return {
    kind: 'images',
    train: part(train),
    validation: test && validation ? part(validation) : null,
    test: heldOut ? part(heldOut) : null,
  };
}

export interface Shares {
  test: number;
  validation: number;
}

/**
 * Every file, in the order of the names. What train and test do not have a folder for is carved from train, class by class,
 * by a digest of the file's name: a file stays in its part when others come and go.
 * @param orders of the classes: the first that names just these is taken, else that of the names
 * @throws ServiceError `bad_dataset`
 */
export async function listImages(
  layout: ImagesLayout,
  shares: Shares,
  orders: readonly (readonly string[] | undefined)[] = [],
): Promise<{ labels: string[]; files: ImageFile[] }> {
  const classes = (await entriesOf(layout.train.path, layout.train.prefix || 'folder')).filter(
    ({ isFolder }) => isFolder,
  );
  const names = classes.map(({ name }) => name);
  if (names.length < 2 || names.length > MOST_CLASSES) {
    const wanted = `a sub-folder for each class, 2 to ${MOST_CLASSES}`;
    throw badDataset(layout.train.prefix || 'folder', wanted, namesIn(names));
  }
  const labels = [...(orders.find((order) => order && sameNames(order, names)) ?? names)];
  const files = await filesOf(layout.train, 'train', labels);
  const present = new Set(files.map(({ label }) => label));
  const empty = labels.find((_, label) => !present.has(label));
  if (empty !== undefined) throw badDataset(layout.train.prefix + empty, 'image files', 'none');
  if (layout.test === null || layout.validation === null) {
    const draws = await drawAll(files);
    if (layout.test === null) carve(files, draws, 'test', shares.test);
    if (layout.validation === null) carve(files, draws, 'validation', shares.validation);
  }
  if (layout.validation !== null) files.push(...(await filesOf(layout.validation, 'validation', labels)));
  if (layout.test !== null) files.push(...(await filesOf(layout.test, 'test', labels)));
  return { labels, files };
}

export function sameNames(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && new Set([...a, ...b]).size === a.length;
}

async function filesOf({ path, prefix }: Folder, part: Part, labels: readonly string[]): Promise<ImageFile[]> {
  const files: ImageFile[] = [];
  for (const folder of await entriesOf(path, prefix || 'folder')) {
    if (!folder.isFolder) continue;
    const label = labels.indexOf(folder.name);
    if (label < 0) throw badDataset(`${prefix}${folder.name}`, `a class of train: ${namesIn(labels)}`, 'another');
    for (const { name, isFolder, size, mtimeMs } of await entriesOf(folder.path, prefix + folder.name)) {
      const full = `${prefix}${folder.name}/${name}`;
      if (isFolder) throw badDataset(full, 'an image file', 'a folder');
      files.push({ name: full, label, part, size, mtimeMs });
    }
  }
  return files;
}

/** Gives a share of each class of train to another part: at least one where there are two, and never all. */
function carve(files: readonly ImageFile[], draws: readonly Draws[], part: CarvedPart, share: number): void {
  const byClass = new Map<number, { file: ImageFile; draw: number }[]>();
  for (const [i, file] of files.entries()) {
    if (file.part !== 'train') continue;
    const drawn = byClass.get(file.label) ?? [];
    drawn.push({ file, draw: draws[i][part] });
    byClass.set(file.label, drawn);
  }
  for (const drawn of byClass.values()) {
    drawn.sort((a, b) => a.draw - b.draw);
    const wanted = drawn.filter(({ draw }) => draw < share).length;
    const taken = Math.min(Math.max(1, wanted), drawn.length - 1);
    for (const { file } of drawn.slice(0, taken)) file.part = part;
  }
}

/** For each file two numbers 0 ≤ x < 1, evenly spread over names and independent; the event loop turns meanwhile. */
async function drawAll(files: readonly ImageFile[]): Promise<Draws[]> {
  const draws: Draws[] = [];
  for (const { name } of files) {
    const digest = createHash('sha256').update(`test ${name}`).digest();
    draws.push({ test: digest.readUInt32BE(0) / 2 ** 32, validation: digest.readUInt32BE(4) / 2 ** 32 });
    if (draws.length % DRAWS_A_TURN === 0) await setImmediate();
  }
  return draws;
}
