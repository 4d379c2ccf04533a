import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Random faults, crashes and requests for a given time, and runs that cheat in rare ways: `npm run test:chaos`. */
const CHAOS = [
  'test/chaos/{chaos,crash-samples,trials,webhooks}.test.ts',
  'test/verdict/rare.test.ts',
  'test/fuzz/**/*.test.ts',
]

/** Browsers, containers, whole programs and machines that fail: `npm run test:system`. All others are `npm test`. */
const SYSTEM = [
  ...['chaos', 'console', 'package', 'reliability', 'sandbox', 'verdict'].map(
    (room) => `test/${room}/**/*.test.ts`,
  ),
  'test/golden/folders.test.ts',
  'test/cli/demo.test.ts',
  'test/compose.test.ts',
  'test/docker-image.test.ts',
]

/** Small files with tests that take long. */
const LONG = [
  'verdict/runs',
  'verdict/rare',
  'chaos/chaos',
  'fuzz/fuzz',
  ...['points', 'verdict'].map((crashes) => `chaos/crash-${crashes}`),
  ...['redaction', 'retention', 'artifact-places', 'fencing', 'carried-files'].map(
    (name) => `reliability/${name}`,
  ),
  ...['store-answers', 'pools', 'webhooks'].map((name) => `reliability/${name}`),
  'sandbox/swapped-project',
  'store/eventstoredb/stand-in',
  'store/embedded/contract',
  'audit/constant-memory',
  'audit/bundle/files',
  'cli/demo',
  'cli/fork',
  'cli/stuck',
  'workspace/carry',
  'carry/isolated-copies',
  'carry/clean-copy-attacks',
  'agent/run/origin-tampering',
].map((name) => `/test/${name}.test.ts`)

/** A first run starts with the largest files. The long tests would be the last, when the other workers have nothing left. */
class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const isLong = ({ moduleId }: TestSpecification): boolean =>
      LONG.some((name) => moduleId.endsWith(name))
    const { long = [], other = [] } = Object.groupBy(await super.sort(files), (file) =>
      isLong(file) ? 'long' : 'other',
    )
    return [...long, ...other]
  }
}

/** The modules that are started as programs or threads start from the build of the tests, in a third of the processor time. */
const fromBuild = {
  name: 'programs-from-the-build',
  enforce: 'pre' as const,
  transform: (code: string, id: string): string | undefined =>
    id.includes('/src/')
      ? code.replace(/siblingModule\('([\w-]+)', import\.meta\.url\)/g, (_, name) => {
          const built = new URL(`./test/dist/${name}.js`, import.meta.url)
          return `new URL(${JSON.stringify(built)})`
        })
      : undefined,
}

const tier = (name: string, include: readonly string[], exclude: readonly string[] = []) => ({
  extends: true as const,
  test: { name, include: [...include], exclude: [...exclude] },
})

export default defineConfig({
  plugins: [fromBuild],
  test: {
    projects: [
      tier('rooms', ['test/**/*.test.ts'], [...SYSTEM, ...CHAOS]),
      tier('system', SYSTEM, CHAOS),
      tier('chaos', CHAOS),
    ],
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
    testTimeout: 300_000,
    hookTimeout: 200_000,
    expect: { poll: { timeout: 60_000 } },
  },
})
