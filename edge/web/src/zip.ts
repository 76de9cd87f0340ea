/** A ZIP archive of files that stay where they are: nothing is compressed or copied. */

const MAX_BYTES = 2 ** 32 - 1;
const MAX_FILES = 65535;
const UTF8_NAMES = 1 << 11;

/** A file for the archive: its parts in order, and the CRC-32 of them all. */
export interface ZipFile {
  name: string;
  parts: (Blob | Uint8Array<ArrayBuffer>)[];
  crc: number;
}

/** Returns the archive; throws a RangeError beyond the 4 GiB that plain ZIP files hold. */
export function zip(files: ZipFile[], date: Date): Blob {
  const body: BlobPart[] = [];
  const directory: Uint8Array<ArrayBuffer>[] = [];
  let offset = 0;
  for (const file of files) {
    const size = file.parts.reduce((sum, part) => sum + (part instanceof Blob ? part.size : part.length), 0);
    const name = new TextEncoder().encode(file.name);
    const local = record(0x04034b50, 30, name, fields(file.crc, size, name.length, date), 4);
    directory.push(entry(name, fields(file.crc, size, name.length, date), offset));
    body.push(local, ...file.parts);
    offset += local.length + size;
  }
  const directoryBytes = directory.reduce((sum, part) => sum + part.length, 0);
  if (offset + directoryBytes > MAX_BYTES || files.length > MAX_FILES) {
    throw new RangeError(`a ZIP file holds 4 GiB, got ${offset} bytes: save the stems one by one`);
  }
  return new Blob([...body, ...directory, end(files.length, directoryBytes, offset)], {
    type: "application/zip",
  });
}

/** The 26 bytes that a local header and a directory entry share, from "version needed" on. */
function fields(crc: number, size: number, nameBytes: number, date: Date): Uint8Array {
  const view = new DataView(new ArrayBuffer(26));
  const time = (date.getHours() << 11) | (date.getMinutes() << 5) | (date.getSeconds() >> 1);
  const day = ((date.getFullYear() - 1980) << 9) | ((date.getMonth() + 1) << 5) | date.getDate();
  view.setUint16(0, 20, true);
  view.setUint16(2, UTF8_NAMES, true);
  view.setUint16(6, time, true);
  view.setUint16(8, day, true);
  view.setUint32(10, crc, true);
  view.setUint32(14, size, true);
  view.setUint32(18, size, true);
  view.setUint16(22, nameBytes, true);
  return new Uint8Array(view.buffer);
}

function record(signature: number, bytes: number, name: Uint8Array, shared: Uint8Array, at: number) {
  const out = new Uint8Array(bytes + name.length);
  new DataView(out.buffer).setUint32(0, signature, true);
  out.set(shared, at);
  out.set(name, bytes);
  return out;
}

function entry(name: Uint8Array, shared: Uint8Array, offset: number) {
  const out = record(0x02014b50, 46, name, shared, 6);
  const view = new DataView(out.buffer);
  view.setUint16(4, 20, true); // made by
  view.setUint32(42, offset, true);
  return out;
}

function end(files: number, bytes: number, offset: number) {
  const view = new DataView(new ArrayBuffer(22));
  view.setUint32(0, 0x06054b50, true);
  view.setUint16(8, files, true);
  view.setUint16(10, files, true);
  view.setUint32(12, bytes, true);
  view.setUint32(16, offset, true);
  return new Uint8Array(view.buffer);
}
