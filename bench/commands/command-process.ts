/** Commands as a server runs them, in a process of its own. Argument: the folder of its data. */
import { closeSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Level } from '../../src/domain/isolation.ts'
import type { Command } from '../../src/runner/command.ts'
import { commandRunner, DEFAULT_LIMITS } from '../../src/runner/run-command.ts'
import { Runner } from '../../src/runner/runner.ts'
import { container, STATUS_FD } from '../../src/sandbox/bubblewrap.ts'
import { REPORT_FD } from '../../src/sandbox/container-shell.ts'
import { chooseIsolation, NO_ISOLATION } from '../../src/sandbox/isolation.ts'
import { answerCalls } from '../support/calls.ts'
import type { BareCommand, Repeated, Wanted } from './bare.ts'

const [dataDir = ''] = process.argv.slice(2)
const COMMAND_LIMIT_MS = 60_000
const runner = new Runner({ error: () => {} })
runner.connect()
const chosen = await chooseIsolation('auto', { runner, dataDir, env: process.env, toolPaths: [] })
const isolated = commandRunner(DEFAULT_LIMITS, runner, chosen)
const bare = commandRunner(DEFAULT_LIMITS, runner, NO_ISOLATION)

const commandOf = ({ file, args, cwd }: Wanted): Command => ({
  file,
  args,
  cwd,
  project: cwd,
  run: 'bench',
  timeoutMs: COMMAND_LIMIT_MS,
  maxBytes: 8 * 1024 * 1024,
  signal: new AbortController().signal,
})

async function run(wanted: Wanted): Promise<number> {
  const { end, exitCode, bytes, output } = await (wanted.isolated ? isolated : bare)(
    commandOf(wanted),
  )
  if (end !== 'exited' || exitCode !== 0) throw new Error(`${wanted.file}: ${end} ${output}`)
  return bytes
}

/** The same command line of bubblewrap for the bare process. */
async function bareCommand(wanted: Wanted): Promise<BareCommand> {
  const { file, args, cwd } = wanted
  const prepared = await chosen.prepare(commandOf(wanted), { PATH: process.env.PATH ?? '' })
  if (prepared === null) throw new Error('commands are not isolated here')
  const { sandbox, env } = prepared
  const { processes } = DEFAULT_LIMITS
  const { line, descriptors } = container(sandbox, env, { file, args, cwd, processes })
  const paths = descriptors.slice(3).map((one) => readlinkSync(`/proc/self/fd/${one}`))
  // These files have no names any more.
  const texts = descriptors.slice(0, 3).map((one) => readFileSync(`/proc/self/fd/${one}`))
  for (const one of descriptors) closeSync(one)
  const files = texts.map((text, n) => {
    const path = join(dataDir, `bare-${n}`)
    writeFileSync(path, text)
    return path
  })
  const begin = Buffer.from('begin\n').toString('base64')
  const pipes = [REPORT_FD, STATUS_FD].map((descriptor) =>
    descriptor === REPORT_FD ? begin : null,
  )
  const [program = '', ...all] = [...line, 'bench']
  return { file: program, args: all, cwd: '/', pipes, files, paths }
}

const operations = {
  level: (): Level | null => chosen.level,
  run,
  bareCommand,
  repeat: async ({ command, count, atOnce }: Repeated<Wanted>) => {
    const times: number[] = []
    let left = count
    const worker = async (): Promise<void> => {
      while (left > 0) {
        left -= 1
        const began = performance.now()
        await run(command)
        times.push(performance.now() - began)
      }
    }
    const began = performance.now()
    await Promise.all(Array.from({ length: atOnce }, worker))
    return { ms: performance.now() - began, times }
  },
  /** RSS in MiB. */
  memory: () => process.memoryUsage().rss / 2 ** 20,
}
export type CommandOperations = typeof operations

answerCalls(operations, async () => runner.close())
