import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          // By default one fewer than there are processors, which leaves one of two idle: tests wait more than they work.
          maxWorkers: 3,
          include: ['{core,service,workers,cli,registry,toolchain,bench,stacks,scripts}/**/*.test.ts'],
          exclude: ['**/node_modules/**'],
          // Keys of 4096 bits and property tests take seconds where other work has the processors.
          testTimeout: 30_000,
        },
      },
      {
        test: {
          name: 'scenarios',
          maxWorkers: 3,
          include: ['test/{contract,scenarios}/**/*.test.ts'],
          globalSetup: ['test/harness/global-setup.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          globalSetup: ['test/harness/global-setup.ts'],
          testTimeout: 300_000,
          hookTimeout: 300_000,
          // Each engine of a test keeps about one processor busy.
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
