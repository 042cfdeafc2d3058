import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Much of the time is spent waiting for servers that are stopped, frozen or slow on purpose.
    maxWorkers: 3,
  },
});
