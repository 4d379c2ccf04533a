import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createArtifacts } from '../src/artifacts/artifacts.ts'
import { DEFAULT_LIMITS, processStarter } from '../src/runner/run-command.ts'
import { Runner } from '../src/runner/runner.ts'
import { NO_ISOLATION } from '../src/sandbox/isolation.ts'
import { Workspace } from '../src/workspace/workspace.ts'
import { integer, median, table } from './support/figures.ts'
import { inTemporaryFolder } from './support/temporary-folder.ts'
import { atMostMs } from './support/verdicts.ts'

/** How many files, and the longest that the first snapshot and one without changes may take, milliseconds. */
const SIZES = [
  { files: 10_000, first: 1_000, unchanged: 150 },
  { files: 100_000, first: 8_000, unchanged: 1_000 },
] as const
const FILES_OF_FOLDER = 50
const BYTES = 4_000
const UNCHANGED_ROUNDS = 5
/** What was changed a moment before is read again. */
const SETTLED_MS = 2_500
const ASKED = { maxFileBytes: 5_000_000, maxBytes: 256_000_000, salt: '00'.repeat(16) }

const startProcess = processStarter(
  DEFAULT_LIMITS,
  new Runner({ error: console.error }),
  NO_ISOLATION,
)

type Measured = Readonly<Record<'first' | 'unchanged' | 'gitAdd' | 'gitStatus', number>>

/** How long a run waits for a snapshot of its project, beside git, which reads the same files. */
export async function run(): Promise<string> {
  const rows: string[][] = []
  for (const { files, first, unchanged } of SIZES) {
    const measured = await inTemporaryFolder((folder) => measure(folder, files))
    rows.push([
      integer(files),
      ...atMostMs(measured.first, first),
      `${integer(measured.gitAdd)} ms`,
      ...atMostMs(measured.unchanged, unchanged),
      `${integer(measured.gitStatus)} ms`,
    ])
  }
  const head = ['files', 'first asked', 'measured', '`git add`', 'unchanged asked', 'measured']
  return [
    '### A snapshot of a project',
    '',
    table([...head, '`git status`'], rows),
    '',
    `Files of ${integer(BYTES)} bytes, ${FILES_OF_FOLDER} in a folder. The first snapshot counts until its packs are on the disk; it is one measurement,`,
    `and the others are medians of ${UNCHANGED_ROUNDS}. Both of git write and compare a copy of their own.`,
  ].join('\n')
}

async function measure(folder: string, files: number): Promise<Measured> {
  const project = join(folder, 'project')
  for (let at = 0; at < files; at += 1) {
    const within = join(project, `${Math.floor(at / FILES_OF_FOLDER)}`)
    if (at % FILES_OF_FOLDER === 0) mkdirSync(within, { recursive: true })
    writeFileSync(join(within, `${at}.txt`), textOf(at))
  }
  const artifacts = createArtifacts(join(folder, 'artifacts'))
  await new Promise((resolve) => setTimeout(resolve, SETTLED_MS))
  await using workspace = new Workspace({ cwd: project }, startProcess)
  // The program is at work already when a run begins.
  ;(await workspace.ask('list', { path: '.', limit: 1 }))._unsafeUnwrap()
  const snapshot = async (): Promise<number> => {
    const began = performance.now()
    const made = await workspace.ask('snapshot', ASKED, { withinMs: 120_000 })
    for (let number = 0; number < made._unsafeUnwrap().packs; number += 1) {
      const { body } = (await workspace.ask('pack', { number }))._unsafeUnwrap()
      await artifacts.put(body)
    }
    return performance.now() - began
  }
  const first = await snapshot()
  const git = (...args: string[]): number => {
    const began = performance.now()
    execFileSync('git', ['-C', project, ...args], { stdio: 'ignore' })
    return performance.now() - began
  }
  git('init', '-q', '--object-format=sha256')
  const gitAdd = git('add', '.')
  const rounds = Array.from({ length: UNCHANGED_ROUNDS })
  const unchanged: number[] = []
  const gitStatus: number[] = []
  for (const _ of rounds) {
    unchanged.push(await snapshot())
    gitStatus.push(git('status', '--porcelain'))
  }
  return { first, unchanged: median(unchanged), gitAdd, gitStatus: median(gitStatus) }
}

/** Different for each file, and about as compressible as source code. */
const textOf = (at: number): string =>
  Array.from({ length: BYTES / 40 }, (_, line) =>
    `${(at * 7919 + line * 104_729).toString(36)} of line ${line}`.padEnd(39),
  ).join('\n')

if (import.meta.main) console.log(await run())
