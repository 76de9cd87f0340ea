/** What the build adds to Vite: the security policy, LiteRT's files, the list of models, the service worker's list. */
import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import type { Plugin, Rolldown } from "vite";
import { modelList } from "./models";

// What the page loads; "jspi" is for parts of a model on the GPU, which it does not use.
const KINDS = ["internal", "compat_internal", "threaded_internal"];

/** Puts the security policy into the page, for hosts that do not send it. */
export function policy(content: string): Plugin {
  // Browsers refuse this part outside of headers.
  const attrs = { "http-equiv": "Content-Security-Policy", content: content.replace("; frame-ancestors 'none'", "") };
  return { name: "policy", transformIndexHtml: () => [{ tag: "meta", attrs, injectTo: "head-prepend" }] };
}

/** Adds LiteRT's WebAssembly and its loaders, compressed: the server sends them as they are. */
export function litert(packageFolder: string, version: string): Plugin {
  return {
    name: "litert",
    generateBundle() {
      for (const kind of KINDS) {
        for (const suffix of ["js", "wasm"]) {
          const name = `litert_wasm_${kind}.${suffix}`;
          const fileName = `litert-${version}/${name}.gz`;
          const data = readFileSync(join(packageFolder, "wasm", name));
          this.emitFile({ type: "asset", fileName, source: gzipSync(data, { level: 9 }) });
        }
      }
    },
  };
}

/** Adds models.json. */
export function models(folder: string): Plugin {
  return {
    name: "models",
    generateBundle() {
      const source = `${JSON.stringify(modelList(folder), null, 1)}\n`;
      this.emitFile({ type: "asset", fileName: "models.json", source });
    },
  };
}

/** Puts into the service worker which files make the page, and a name made of their contents. */
export function serviceWorker(publicFolder: string): Plugin {
  return {
    name: "service-worker",
    enforce: "post",
    generateBundle: {
      order: "post",
      handler(_, bundle) {
        const files = new Map<string, string | Uint8Array>();
        for (const name of readdirSync(publicFolder)) files.set(name, readFileSync(join(publicFolder, name)));
        for (const [name, item] of Object.entries(bundle)) {
          if (name !== "sw.js" && !name.endsWith(".gz")) files.set(name, content(item));
        }
        const names = [...files.keys()].sort();
        const hash = createHash("sha256");
        for (const name of names) hash.update(`${name}\0`).update(files.get(name)!);
        const urls = ["./", ...names.filter((name) => name !== "index.html")];
        const worker = bundle["sw.js"] as Rolldown.OutputChunk;
        worker.code = worker.code
          .replace("__FILES__", JSON.stringify(urls))
          .replace("__VERSION__", JSON.stringify(hash.digest("hex").slice(0, 12)));
      },
    },
  };
}

function content(item: Rolldown.OutputChunk | Rolldown.OutputAsset): string | Uint8Array {
  return item.type === "chunk" ? item.code : item.source;
}
