import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Small files with tests that take long. */
const LONG =
  /\/(chaos\/chaos|chaos\/crash-(points|outcomes|subagents)|reliability\/redaction|fuzz\/fuzz|audit\/constant-memory|cli\/demo)\.test\.ts$/

/** A first run starts with the largest files. The long tests would be the last, when the other workers have nothing left. */
class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const isLong = ({ moduleId }: TestSpecification): boolean => LONG.test(moduleId)
    const { long = [], other = [] } = Object.groupBy(await super.sort(files), (file) =>
      isLong(file) ? 'long' : 'other',
    )
    return [...long, ...other]
  }
}

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    setupFiles: ['test/support/valid-requests.ts'],
    // Most files of tests load the same modules, which takes a second, so those of one worker share them.
    isolate: false,
    // Threads of the garbage collector only take processor time from the other workers.
    execArgv: ['--min-semi-space-size=16', '--single-threaded-gc'],
    sequence: { sequencer: LongFirst },
    // Many tests wait for a process or a timer: with one worker more than cores, a third of the processor time was left.
    maxWorkers: availableParallelism() + 2,
    maxConcurrency: availableParallelism() + 1,
    // Real servers, real child processes and a shared machine: generous, and never a measure of speed.
    testTimeout: 180_000,
    hookTimeout: 120_000,
    // Browsers and process trees on a shared machine: CI tries once more, and its report names what needed it.
    retry: process.env.CI === 'true' ? 1 : 0,
    expect: { poll: { timeout: 60_000 } },
  },
})
