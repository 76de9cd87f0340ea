/** Numbers as people read them. */

/** 75 -> "1:15". */
export function clock(seconds: number): string {
  const whole = Math.floor(seconds);
  const parts = [Math.floor(whole / 60) % 60, whole % 60];
  if (whole >= 3600) parts.unshift(Math.floor(whole / 3600));
  return parts.map((part, at) => (at ? String(part).padStart(2, "0") : String(part))).join(":");
}

/** 75 -> "1 minute 15 seconds", for screen readers. */
export function spoken(seconds: number): string {
  const whole = Math.floor(seconds);
  const [minutes, rest] = [Math.floor(whole / 60), whole % 60];
  const words = [minutes ? plural(minutes, "minute") : "", rest || !minutes ? plural(rest, "second") : ""];
  return words.filter(Boolean).join(" ");
}

/** 75 -> "about 2 min left", for a rough remaining time. */
export function remaining(seconds: number): string {
  if (seconds < 60) return `about ${Math.max(1, Math.round(seconds))} s left`;
  return `about ${Math.round(seconds / 60)} min left`;
}

/** 0.1184 -> "118 ms", 7.04 -> "7.0 s". */
export function delay(seconds: number): string {
  return seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(1)} s`;
}

export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

function plural(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? "" : "s"}`;
}

/** Returns a file's name without folder and ending, fit to be a name again. */
export function songName(fileName: string): string {
  const name = fileName.replace(/\.[^.]{1,5}$/, "").replace(/[\p{C}/\\:*?"<>|]/gu, "_").trim();
  return name.replace(/^\.+/, "") || "song";
}
