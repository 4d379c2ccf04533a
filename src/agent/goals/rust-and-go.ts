import type { Workspace } from '../../workspace/workspace.ts'
import { FIT, type Fit, type Goal, type GoalContext, type GoalVerdict } from './goal.ts'
import { parseApart } from './parse-apart.ts'
import { firstOf } from './project-files.ts'
import {
  BUILD_CHECK_MS,
  cannotCheck,
  type Exited,
  noResult,
  runCheck,
  tooLong,
  unreadable,
} from './run-check.ts'
import { judgeTests } from './test-summary.ts'
import { failureDetails } from './what-failed.ts'

const NO_CARGO_TOML = /^error: could not find `Cargo\.toml`/m
const NO_GO_MOD =
  /directory prefix \. does not contain main module|go\.mod file not found in current/

/** Tests are beside the code of both languages, in any folder, so the manifest alone shows that they fit. */
async function fitOf(files: Workspace, manifest: string): Promise<Fit | null> {
  const found = await firstOf(files, [manifest])
  return found === null ? null : { fit: FIT.tests, because: `there is a ${manifest}` }
}

/** What both tools print if they cannot find the host of a registry. */
const NO_HOST = /Could not resolve host|dial tcp: lookup /

/**
 * The verdict if packages cannot be downloaded because the commands of the run have no network; null if there is
 * another cause. Only for a check that ran no test, because a test may itself fail to resolve a host.
 */
function lacksPackages(
  { config: { network = 'none' } }: GoalContext,
  tool: 'cargo' | 'go',
  { output }: Exited,
): GoalVerdict | null {
  if (network !== 'none' || !NO_HOST.test(output)) return null
  const vendor = tool === 'go' ? 'go mod vendor' : 'cargo vendor'
  const reason =
    `${tool} test needs packages that are not here, and the commands of this run have no network: start a run with the ` +
    `network preset:${tool}, or put them into the project with \`${vendor}\``
  return cannotCheck(reason, failureDetails(output))
}

async function checkCargo(context: GoalContext): Promise<GoalVerdict> {
  const ran = await runCheck(context, {
    tool: 'cargo test',
    programs: [{ file: 'cargo', args: ['test', '--no-fail-fast', '--color=never'] }],
    envOfCommand: { CARGO_TERM_COLOR: 'never' },
    missing: 'cargo is not installed: install it from https://rustup.rs',
    timeoutMs: BUILD_CHECK_MS,
  })
  if (ran.isErr()) return ran.error
  const cut = tooLong('cargo test', ran.value)
  if (cut !== null) return cut
  if (NO_CARGO_TOML.test(ran.value.stderr)) {
    return { ...noResult('cargo test', ran.value, 'ran no test'), verdict: 'cannot_check' }
  }
  const { stdout, stderr, exitCode } = ran.value
  const parsed = await parseApart('cargoTest', [stdout, stderr], context.signal)
  if (parsed.isErr()) return unreadable('cargo test', ran.value, parsed.error)
  const { summary, binaries } = parsed.value
  if (exitCode !== 0 && binaries === 0 && summary.broken.length === 0) {
    const lacking = lacksPackages(context, 'cargo', ran.value)
    if (lacking !== null) return lacking
    return noResult('cargo test', ran.value, 'ran no test')
  }
  return judgeTests(summary, {
    tool: 'cargo test',
    unit: 'test target',
    noTests: 'cargo looks for functions marked #[test]',
    ended: ran.value,
  })
}

export const cargoTest: Goal = {
  name: 'cargo-test',
  description: 'All Rust tests pass under cargo test',
  prompt:
    'Make all tests of this Rust project pass. The check runs `cargo test --no-fail-fast` in the ' +
    'project folder: unit, integration and documentation tests. It passes when the code compiles, ' +
    'at least one test passed and none failed.',
  registries: ['cargo'],
  takes: { check: 'optional' },
  detect: (files) => fitOf(files, 'Cargo.toml'),
  check: checkCargo,
}

async function checkGo(context: GoalContext): Promise<GoalVerdict> {
  const ran = await runCheck(context, {
    tool: 'go test',
    programs: [{ file: 'go', args: ['test', '-json', './...'] }],
    envOfCommand: { GOFLAGS: '-json' },
    missing: 'go is not installed: install it from https://go.dev/dl',
    timeoutMs: BUILD_CHECK_MS,
  })
  if (ran.isErr()) return ran.error
  const cut = tooLong('go test', ran.value)
  if (cut !== null) return cut
  if (NO_GO_MOD.test(ran.value.output)) {
    return { ...noResult('go test', ran.value, 'ran no test'), verdict: 'cannot_check' }
  }
  const parsed = await parseApart('goTest', [ran.value.stdout], context.signal)
  if (parsed.isErr()) return unreadable('go test', ran.value, parsed.error)
  const { summary, printed, events } = parsed.value
  const readable = { ...ran.value, output: [ran.value.stderr, printed].filter(Boolean).join('\n') }
  const lacking =
    summary.passed + summary.failed === 0 ? lacksPackages(context, 'go', readable) : null
  if (lacking !== null) return lacking
  if (events === 0) return noResult('go test', readable, 'reported nothing')
  return judgeTests(summary, {
    tool: 'go test',
    unit: 'package',
    noTests: 'go looks for functions named Test* in files named *_test.go',
    ended: readable,
  })
}

export const goTest: Goal = {
  name: 'go-test',
  description: 'All Go tests pass under go test',
  prompt:
    'Make all tests of this Go project pass. The check runs `go test ./...` in the project folder. ' +
    'It passes when every package builds, at least one test passed and none failed.',
  registries: ['go'],
  takes: { check: 'optional' },
  detect: (files) => fitOf(files, 'go.mod'),
  check: checkGo,
}
