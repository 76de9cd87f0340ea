/** What a user can meet: one plain line with the rule, what was found and the way out. */
export class PlainError extends Error {
  override name = "PlainError";
}

/** A model file or its contract cannot be used. */
export class ModelError extends PlainError {
  override name = "ModelError";
}

/** The user ended the work. */
export class Cancelled extends PlainError {
  override name = "Cancelled";
}

/** Returns `text`, or its start if it is long: a damaged file may be quoted, but not whole. */
export function shortened(text: string, most = 80): string {
  const letters = [...text];
  return letters.length <= most ? text : `${letters.slice(0, most - 3).join("")}...`;
}

/** Returns a value from a file as text that may be shown. */
export function shown(value: unknown): string {
  return shortened(JSON.stringify(value) ?? String(value));
}
