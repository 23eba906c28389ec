/** Tar archives written byte by byte, so that tests can have ones that no tool would write. */

export interface ArchiveEntry {
  name: string;
  data?: Buffer | string;
  /** Of the header: `0` file, `2` symbolic link, `5` folder … */
  type?: string;
  link?: string;
  /** Where the header is to lie. */
  size?: number;
}

/** @param end the two zero blocks that end an archive */
export function tarOf(entries: ArchiveEntry[], end = true): Buffer {
  const blocks = entries.flatMap((entry) => {
    const data = Buffer.from(entry.data ?? '');
    return [header(entry, data.length), data, Buffer.alloc((512 - (data.length % 512)) % 512)];
  });
  return Buffer.concat([...blocks, Buffer.alloc(end ? 1024 : 0)]);
}

function header({ name, type = '0', link = '', size }: ArchiveEntry, length: number): Buffer {
  const block = Buffer.alloc(512);
  block.write(name, 0, 100);
  block.write('0000644\0', 100);
  block.write('0000000\0', 108);
  block.write('0000000\0', 116);
  block.write(`${(size ?? length).toString(8).padStart(11, '0')}\0`, 124);
  block.write(`${(0).toString(8).padStart(11, '0')}\0`, 136);
  block.write('        ', 148);
  block.write(type, 156);
  block.write(link, 157, 100);
  block.write('ustar\x0000', 257);
  const sum = block.reduce((a, b) => a + b, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}

/** An archive with one name longer than a header holds, in a PAX header as tar writes it. */
export function longNamed(name: string, data: string): Buffer {
  let record = ` path=${name}\n`;
  let length = Buffer.byteLength(record);
  while (Buffer.byteLength(`${length}${record}`) !== length) length++;
  record = `${length}${record}`;
  return tarOf([
    { name: 'PaxHeader/long', type: 'x', data: record },
    { name: name.slice(0, 99), data },
  ]);
}
