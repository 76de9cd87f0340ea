/** The list of bundled models for the page, made of the models' folder. */
import { createHash } from "node:crypto";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { ModelEntry } from "../src/page/models";
import { loadModel } from "../src/model/contract";

const SUFFIX = ".tflite";

/** Reads and checks every model file of a folder; the default comes first. */
export function modelList(folder: string): ModelEntry[] {
  const files = readdirSync(folder).filter((name) => name.endsWith(SUFFIX)).sort();
  const marker = join(folder, "DEFAULT");
  const named = existsSync(marker) ? readFileSync(marker, "utf8").trim() : files[0]!.slice(0, -SUFFIX.length);
  const entries = files.map((file) => entry(folder, file, named));
  return entries.sort((a, b) => Number(b.isDefault) - Number(a.isDefault));
}

function entry(folder: string, file: string, defaultName: string): ModelEntry {
  const data = readFileSync(join(folder, file));
  const { contract } = loadModel(data);
  const name = file.slice(0, -SUFFIX.length);
  // The server and browsers keep a file by its address, so that contents have their own.
  const version = createHash("sha256").update(data).digest("hex").slice(0, 12);
  return {
    name,
    title: `${contract.name}, ${contract.precision}`,
    url: `models/${file}?v=${version}`,
    bytes: data.length,
    precision: contract.precision,
    isDefault: name === defaultName,
    isCausal: contract.states !== undefined,
  };
}
