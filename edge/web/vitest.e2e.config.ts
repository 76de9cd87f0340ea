import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["e2e/**/*.e2e.ts"],
    fileParallelism: false, // two cores: side by side the songs would wait for each other
    testTimeout: 300_000,
    hookTimeout: 300_000,
  },
});
