/**
 * Puts the build into the runner's package, or with --check tells whether it is there already.
 *
 * Compressed files are compared by what is in them, because compressors differ in their bytes.
 */
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { gunzipSync } from "node:zlib";

const BUILT = new URL("../dist", import.meta.url).pathname;
const COMMITTED = new URL("../../mmdense_edge/serve/static", import.meta.url).pathname;
const MAX_FILE_BYTES = 3_000_000;

function files(folder) {
  if (!existsSync(folder)) return [];
  const found = readdirSync(folder, { recursive: true }).map(String);
  return found.filter((name) => statSync(join(folder, name)).isFile()).sort();
}

function content(path) {
  const data = readFileSync(path);
  return path.endsWith(".gz") ? gunzipSync(data) : data;
}

function differs(name) {
  const [built, committed] = [join(BUILT, name), join(COMMITTED, name)];
  return !existsSync(built) || !existsSync(committed) || !content(built).equals(content(committed));
}

const names = [...new Set([...files(BUILT), ...files(COMMITTED)])].sort();
const changed = names.filter(differs);
const large = files(BUILT).filter((name) => statSync(join(BUILT, name)).size > MAX_FILE_BYTES);
if (large.length) {
  console.error(`files may have ${MAX_FILE_BYTES} bytes at most: ${large.join(", ")}`);
  process.exit(1);
}
const place = relative(process.cwd(), COMMITTED);
if (!changed.length) {
  console.log(`${place} is the build of the sources`);
} else if (process.argv.includes("--check")) {
  console.error(`${place} is not the build of the sources (make web, then commit): ${changed.join(", ")}`);
  process.exit(1);
} else {
  for (const name of changed) {
    const target = join(COMMITTED, name);
    rmSync(target, { force: true });
    if (!existsSync(join(BUILT, name))) continue;
    mkdirSync(dirname(target), { recursive: true });
    cpSync(join(BUILT, name), target);
    console.log(`${place}/${name}`);
  }
}
