import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { startServerProcess } from '../examples/demo/server.ts'
import { buildProgram } from '../test/support/build.ts'
import { sourcesOf } from './support/earlier-commit.ts'
import { median, table } from './support/figures.ts'
import { inTemporaryFolder } from './support/temporary-folder.ts'
import { atMost, notAsked } from './support/verdicts.ts'

const ROOT = fileURLToPath(new URL('../', import.meta.url))
/** The last commit of v0.1, which ran from its sources. */
const BEFORE = '30d4dc6'
const ROUNDS = 9
/** A server is idle after this time without a request, milliseconds. */
const IDLE_MS = 4_000
/** The unit of times in /proc on Linux, milliseconds. */
const TICK_MS = 10

type Start = {
  /** From the start of the process until it is ready, milliseconds. */
  readonly readyMs: number
  /** Processor time until then, milliseconds. A busy machine changes it less. */
  readonly processorMs: number
  /** Resident memory of the idle server, MiB. */
  readonly idleMiB: number
}

/**
 * Start-up and idle memory of the package, beside an earlier commit. Linux only.
 * @param ref the commit to compare with, as git names it
 */
export async function run({ ref = BEFORE }: { readonly ref?: string } = {}): Promise<string> {
  return await inTemporaryFolder(async (folder) => {
    const now = await buildProgram()
    const before = await programOf(ref, join(folder, 'before'))
    const starts: { readonly now: Start; readonly before: Start }[] = []
    for (let round = 0; round < ROUNDS; round += 1) {
      const measure = (program: string, name: string) =>
        measureStart(program, join(folder, `${name}-${round}`))
      starts.push({ now: await measure(now, 'now'), before: await measure(before, 'before') })
    }
    return report(ref, starts)
  })
}

/** Puts the sources of a commit into a folder, with our dependencies, and builds them if it can be built. */
async function programOf(ref: string, folder: string): Promise<string> {
  await sourcesOf(ref, folder)
  if (!existsSync(join(folder, 'tsdown.config.ts'))) return join(folder, 'src/cli/retrai.ts')
  const tsdown = join(ROOT, 'node_modules/tsdown/dist/run.mjs')
  execFileSync(process.execPath, [tsdown, '--logLevel', 'error'], { cwd: folder })
  return join(folder, 'dist/retrai.js')
}

async function measureStart(program: string, dataDir: string): Promise<Start> {
  const began = performance.now()
  const env = { PATH: process.env.PATH, RETRAI_LLM_BASE_URL: 'http://127.0.0.1:9/v1' }
  const server = await startServerProcess(['--port', '0', '--data-dir', dataDir], env, program)
  const readyMs = performance.now() - began
  const pid = server.process.pid ?? 0
  const processorMs = await processorMsOf(pid)
  await delay(IDLE_MS)
  const idleMiB = await residentMiB(pid)
  await server.stop()
  return { readyMs, processorMs, idleMiB }
}

async function processorMsOf(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8')
  // The name of the process may contain spaces. After it, the times in user and kernel mode are the 12th and 13th.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS
}

async function residentMiB(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) / 1024
}

function report(
  ref: string,
  starts: readonly { readonly now: Start; readonly before: Start }[],
): string {
  const row = (name: string, unit: string, what: keyof Start, asked: number) => {
    const figures = (which: 'now' | 'before') =>
      `${median(starts.map((each) => each[which][what])).toFixed(0)} ${unit}`
    const ratio = median(starts.map(({ now, before }) => now[what] / before[what]))
    const verdict = atMost(ratio, asked)
    return [
      name,
      figures('before'),
      figures('now'),
      ...(what === 'processorMs' ? notAsked(verdict) : verdict),
    ]
  }
  return [
    `### The package beside ${ref}: start-up and idle memory`,
    '',
    table(
      ['', ref, 'package', 'ratio asked', 'measured'],
      [
        row('until ready', 'ms', 'readyMs', 0.5),
        row('processor time until ready', 'ms', 'processorMs', 0.5),
        row('resident memory, idle', 'MiB', 'idleMiB', 0.6),
      ],
    ),
    '',
    `Medians of ${ROUNDS} alternating rounds, each with an empty data folder; ratios are medians of the rounds' ratios. Idle is`,
    `${IDLE_MS / 1000} s after the start. A commit that cannot be built runs from its sources. Both have the same dependencies.`,
  ].join('\n')
}
