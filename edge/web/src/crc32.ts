/** CRC-32 as ZIP files have it. */

// Of a byte, and of one with one, two and three bytes of zeros after it: four bytes go at a time.
const TABLE = new Int32Array(4 * 256);
for (let at = 0; at < TABLE.length; at++) {
  let value = at < 256 ? at : TABLE[at - 256]!;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  TABLE[at] = value;
}

/** Returns the CRC-32 of bytes, going on from that of the bytes before them. */
export function crc32(bytes: Uint8Array, before = 0): number {
  const table = TABLE;
  const whole = bytes.length & ~3;
  let crc = ~before;
  for (let at = 0; at < whole; at += 4) {
    crc ^= bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    crc = table[768 + (crc & 255)]! ^ table[512 + ((crc >>> 8) & 255)]! ^ table[256 + ((crc >>> 16) & 255)]! ^ table[crc >>> 24]!;
  }
  for (let at = whole; at < bytes.length; at++) crc = table[(crc ^ bytes[at]!) & 255]! ^ (crc >>> 8);
  return ~crc >>> 0;
}
