/** Checks of single values of a contract: each returns the value or throws the rule it breaks. */
import { type Entries, Real, isEntries } from "./json";

const RESERVED_SOURCES = ["mixture", "residual"];
// Sources become file names: no dots, no separators, nothing that a terminal would interpret.
const SOURCE = /^[\p{L}\p{N}_][\p{L}\p{N}_ +-]{0,63}$/u;
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/u;

const MAX_TAPS = 4096;
export const MAX_PAST_VALUES = 2 ** 24;

/** Start, stop and delay. */
export type Tap = [number, number, number];

/** The rule that a value breaks, in words. */
export class Rule extends Error {}

export type Check<T> = (value: unknown) => T;

export function integer(low: number, high: number): Check<number> {
  return (value) => {
    if (typeof value !== "number" || value < low || value > high) {
      throw new Rule(`an integer from ${low} to ${high}`);
    }
    return value;
  };
}

export function line(high: number): Check<string> {
  return (value) => {
    const length = typeof value === "string" ? [...value].length : 0;
    if (length < 1 || length > high || UNPRINTABLE.test(value as string)) {
      throw new Rule(`one line of 1 to ${high} characters`);
    }
    return value as string;
  };
}

export function text(high: number): Check<string> {
  return (value) => {
    if (typeof value !== "string" || [...value].length > high) {
      throw new Rule(`a text of ${high} characters at most`);
    }
    return value;
  };
}

export function oneOf<T extends string>(...choices: T[]): Check<T> {
  return (value) => {
    if (!choices.includes(value as T)) throw new Rule(`one of ${choices.join(", ")}`);
    return value as T;
  };
}

export function mapping(value: unknown): Entries {
  if (!isEntries(value)) throw new Rule("an object");
  return value;
}

export function names(value: unknown): Map<string, string> {
  const check = line(256);
  return new Map(Object.entries(mapping(value)).map(([key, name]) => [key, check(name)]));
}

export function numbers(value: unknown): Map<string, number> {
  const found = Object.entries(mapping(value)).map(([key, number]): [string, number] => {
    const plain = number instanceof Real ? number.value : number;
    if (typeof plain !== "number" || !Number.isFinite(plain)) {
      throw new Rule("an object of finite numbers");
    }
    return [key, plain];
  });
  return new Map(found);
}

export function positive(value: unknown): number {
  const number = numbers({ "": value }).get("") as number;
  if (number <= 0) throw new Rule("a number above 0");
  return number;
}

export function sources(value: unknown): string[] {
  const rule = "a list of 1 to 64 names, each once, of letters, digits, spaces and _+-";
  const isList = Array.isArray(value) && value.length >= 1 && value.length <= 64;
  if (!isList || !value.every((name) => typeof name === "string" && SOURCE.test(name))) {
    throw new Rule(rule);
  }
  const folded = new Set(value.map(casefold));
  if (folded.size < value.length || RESERVED_SOURCES.some((name) => folded.has(name))) {
    throw new Rule(`${rule}, other than ${RESERVED_SOURCES.join(" and ")}`);
  }
  return value;
}

function casefold(name: string): string {
  return name.toUpperCase().toLowerCase().replaceAll("ς", "σ");
}

export function sha256(value: unknown): string {
  if (typeof value !== "string" || !/^[0-9a-f]{64}$/.test(value)) {
    throw new Rule("64 hexadecimal digits in lower case");
  }
  return value;
}

export function taps(value: unknown): Tap[] {
  const isCount = (number: unknown) => typeof number === "number" && number >= 0 && number <= MAX_PAST_VALUES;
  const isTap = (tap: unknown) =>
    Array.isArray(tap) && tap.length === 3 && tap.every(isCount) && tap[0] < tap[1] && tap[2] >= 1;
  if (!Array.isArray(value) || value.length < 1 || value.length > MAX_TAPS || !value.every(isTap)) {
    throw new Rule(
      `a list of 1 to ${MAX_TAPS} [start, stop, delay] of whole numbers, 0 <= start < stop, delay 1 or more`,
    );
  }
  return value;
}
