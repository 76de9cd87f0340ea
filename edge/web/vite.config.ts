import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";
import { litert, models, policy, serviceWorker } from "./bundle/plugins";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const litertFolder = here("node_modules/@litertjs/core");
const { version } = JSON.parse(readFileSync(`${litertFolder}/package.json`, "utf8")) as { version: string };

const headers = JSON.parse(readFileSync(here("../mmdense_edge/serve/headers.json"), "utf8")) as Record<string, string>;

export default defineConfig({
  base: "./",
  define: { __LITERT_VERSION__: JSON.stringify(version), __HEADERS__: JSON.stringify(headers) },
  // LiteRT loads its own script with importScripts, which module workers lack.
  worker: { format: "iife" },
  plugins: [policy(headers["Content-Security-Policy"]!), litert(litertFolder, version), models(here("../mmdense_edge/model")), serviceWorker(here("public"))],
  build: {
    target: ["chrome91", "firefox89", "safari16.4"],
    outDir: "dist",
    modulePreload: false,
    assetsInlineLimit: 0,
    rolldownOptions: {
      input: { index: here("index.html"), sw: here("src/sw.ts") },
      output: { entryFileNames: (chunk) => (chunk.name === "sw" ? "sw.js" : "assets/[name]-[hash].js") },
    },
  },
});
