/** What kind of data set a folder holds, by its content. */
import { type CifarLayout, findCifar } from './cifar-binary.js';
import { type Entry, entriesOf } from './entries.js';
import { badDataset, namesIn } from './faults.js';
import { findIdx, type IdxLayout } from './idx.js';
import { findImages, type ImagesLayout } from './image-listing.js';

export type Layout = (IdxLayout | CifarLayout | ImagesLayout) & { folder: string };

export const EXPECTED =
  'IDX files (train-images-idx3-ubyte …, also .gz), CIFAR binary files (data_batch_1.bin … and test_batch.bin, or ' +
  'train.bin and test.bin), or a folder of images for each class, below train and test or directly';
/** Folders in folders, as archives have them. */
const MOST_WRAPPINGS = 3;

/**
 * Where the folder holds one folder and nothing else, that one is looked at.
 * @throws ServiceError `bad_dataset` that says what was expected and what was found
 */
export async function recognise(path: string): Promise<Layout> {
  let folder = path;
  let entries = await entriesOf(folder, 'folder');
  for (let i = 0; i < MOST_WRAPPINGS && entries.length === 1 && entries[0].isFolder; i++) {
    folder = entries[0].path;
    entries = await entriesOf(folder, 'folder');
  }
  const layout = findIdx(entries) ?? findCifar(entries) ?? (await findImages(folder, entries));
  if (layout === null) throw badDataset('folder', EXPECTED, namesIn(entries.map(shown), 'an empty folder'));
  return { ...layout, folder };
}

function shown({ name, isFolder }: Entry): string {
  return isFolder ? `${name}/` : name;
}
