/** The model file as a container: a TFLite flatbuffer, then a ZIP archive with its contract. */
import { crc32 } from "../crc32";
import { ModelError, shortened } from "../errors";
import { MAX_CONTRACT_BYTES } from "./json";

export const MAX_FILE_BYTES = 512 * 2 ** 20;
const MEMBER = "contract.json";
const AGAIN = "copy or export the model again";
const END_BYTES = 22;
const ENTRY_BYTES = 46;
const LOCAL_BYTES = 30;
const ZIP64_LOCATOR_BYTES = 20;
const SIGNATURES = { end: 0x06054b50, entry: 0x02014b50, local: 0x04034b50, zip64: 0x07064b50 };

interface Member {
  headerOffset: number;
  size: number;
  crc: number;
}

/**
 * Splits a model file into the TFLite model and the text of its contract.
 *
 * Throws a ModelError: not a TFLite model, no archive, or not the one that the format allows.
 */
export function split(data: Uint8Array): { content: Uint8Array; contract: Uint8Array } {
  if (data.length > MAX_FILE_BYTES) {
    throw new ModelError(`the model is larger than ${MAX_FILE_BYTES} bytes, the limit of a model file`);
  }
  if (latin(data.subarray(4, 8)) !== "TFL3") {
    throw new ModelError("not a TFLite model: bytes 4 to 8 are not 'TFL3'");
  }
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const member = readEntry(data, view, readEnd(view));
  return { content: data.subarray(0, member.headerOffset), contract: readMember(data, view, member) };
}

/** Returns where the archive's directory starts. */
function readEnd(view: DataView): number {
  const end = view.byteLength - END_BYTES;
  if (end < 0 || view.getUint32(end, true) !== SIGNATURES.end) {
    throw new ModelError(`the model carries no contract (no archive at its end): ${AGAIN}`);
  }
  const [here, entries] = [view.getUint16(end + 8, true), view.getUint16(end + 10, true)];
  const [size, offset] = [view.getUint32(end + 12, true), view.getUint32(end + 16, true)];
  const locator = end - ZIP64_LOCATOR_BYTES;
  const zip64 = locator >= 0 && view.getUint32(locator, true) === SIGNATURES.zip64;
  if (here !== 1 || entries !== 1 || size > MAX_CONTRACT_BYTES || zip64) {
    throw new ModelError(
      `the archive must hold exactly one file, ${MEMBER}; it lists ${entries}: ${AGAIN}`,
    );
  }
  if (offset + size !== end) throw damaged("its directory is not before its end");
  return offset;
}

function readEntry(data: Uint8Array, view: DataView, at: number): Member {
  checkRecord(view, at, ENTRY_BYTES, SIGNATURES.entry, "directory");
  const nameBytes = view.getUint16(at + 28, true);
  if (at + ENTRY_BYTES + nameBytes > data.length) throw damaged("a name beyond the end");
  const name = latin(data.subarray(at + ENTRY_BYTES, at + ENTRY_BYTES + nameBytes));
  if (name !== MEMBER) {
    throw new ModelError(`the archive must hold ${MEMBER}, found '${shortened(name)}'`);
  }
  const [flags, method] = [view.getUint16(at + 8, true), view.getUint16(at + 10, true)];
  const [packed, size] = [view.getUint32(at + 20, true), view.getUint32(at + 24, true)];
  if (method !== 0 || packed !== size || flags & 1) {
    throw new ModelError(`${MEMBER} must be stored, neither compressed nor encrypted: ${AGAIN}`);
  }
  if (size > MAX_CONTRACT_BYTES) {
    throw new ModelError(`${MEMBER} may have ${MAX_CONTRACT_BYTES} bytes at most, found ${size}`);
  }
  return { headerOffset: view.getUint32(at + 42, true), size, crc: view.getUint32(at + 16, true) };
}

function readMember(data: Uint8Array, view: DataView, member: Member): Uint8Array {
  const at = member.headerOffset;
  checkRecord(view, at, LOCAL_BYTES, SIGNATURES.local, "file header");
  const nameBytes = view.getUint16(at + 26, true);
  const start = at + LOCAL_BYTES + nameBytes + view.getUint16(at + 28, true);
  if (start + member.size > data.length) throw damaged("the contract reaches beyond the end");
  if (latin(data.subarray(at + LOCAL_BYTES, at + LOCAL_BYTES + nameBytes)) !== MEMBER) {
    throw damaged("two names for one file");
  }
  const text = data.subarray(start, start + member.size);
  if (crc32(text) !== member.crc) throw damaged("wrong CRC-32 of the contract");
  return text;
}

function checkRecord(view: DataView, at: number, bytes: number, signature: number, what: string): void {
  if (at + bytes > view.byteLength || view.getUint32(at, true) !== signature) {
    throw damaged(`no ${what} where one should be`);
  }
}

function damaged(told: string): ModelError {
  return new ModelError(`the archive with the contract is damaged (${told}): ${AGAIN}`);
}

function latin(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes.subarray(0, 1000));
}
