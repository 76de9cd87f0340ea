/** JSON as the runner reads it: integers are told from other numbers, sizes are bounded. */
import { parse } from "lossless-json";
import { ModelError, shortened } from "../errors";

export const MAX_CONTRACT_BYTES = 1 << 20;
export const MAX_DEPTH = 32;
const MAX_DIGITS = 32;

/** A number with a fraction or an exponent; integers become plain numbers. */
export class Real {
  constructor(readonly value: number) {}

  toJSON(): number {
    return this.value;
  }
}

export type Entries = Record<string, unknown>;

export function isEntries(value: unknown): value is Entries {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Real);
}

/** Parses the text of a contract: UTF-8 JSON, 1 MiB and 32 levels at most. */
export function parseJson(bytes: Uint8Array): unknown {
  if (bytes.length > MAX_CONTRACT_BYTES) {
    throw new ModelError(`the contract may have 1 MiB at most, found ${bytes.length} bytes`);
  }
  let values: unknown;
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    values = parse(text, null, { parseNumber, onDuplicateKey: ({ newValue }) => newValue });
  } catch (error) {
    const told = shortened(String((error as Error).message));
    throw new ModelError(`the contract is not valid JSON (${told})`);
  }
  checkDepth(values);
  return values;
}

function parseNumber(text: string): number | Real {
  if (/[.eE]/.test(text)) return new Real(Number(text));
  if (text.length > MAX_DIGITS) throw new SyntaxError(`a number of ${text.length} digits`);
  return Number(text);
}

function checkDepth(values: unknown): void {
  let level = [values];
  for (let depth = 0; depth < MAX_DEPTH; depth++) level = level.flatMap(children);
  if (level.length) {
    throw new ModelError(`the contract is nested more than ${MAX_DEPTH} levels deep`);
  }
}

function children(value: unknown): unknown[] {
  if (Array.isArray(value)) return value;
  return isEntries(value) ? Object.values(value) : [];
}
