import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished } from 'vitest'
import { type ServerProcess, startServerProcess } from '../../examples/demo/server.ts'
import { runCommandLine } from '../../src/cli/command-line.ts'
import { type AgentEvent, createClient } from '../../src/client/index.ts'
import { COMPILE_CACHE } from '../support/build.ts'
import { PATIENCE_MS, within } from '../support/within.ts'

/** `retrai`: what the global setup built for this test run; the sources if a script imports this. */
export const CLI =
  process.env.RETRAI_TEST_PROGRAM ??
  fileURLToPath(new URL('../../src/cli/retrai.ts', import.meta.url))

/**
 * The environment of this test run without the settings of retrAI and of colours, so those of a developer or of CI
 * have no effect.
 */
export const cleanEnv = (): NodeJS.ProcessEnv => ({
  ...Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) =>
        !/^(RETRAI_|(EVENTSTORE_URL|OLLAMA_HOST|CI|NO_COLOR|FORCE_COLOR|npm_command)$)|_API_KEY$|_BASE_URL$/.test(
          name,
        ),
    ),
  ),
  // A test that is not about isolation needs none, and is faster without it.
  RETRAI_ISOLATION: 'none',
  NODE_COMPILE_CACHE: COMPILE_CACHE,
})

/**
 * The environment of a server with these settings. If its commands are not isolated, they find no compiler and no
 * package manager, which it then does not look at. In a container, the links of that PATH would be missing.
 */
export function serverEnv(settings: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const few = settings.RETRAI_ISOLATION === undefined ? process.env.RETRAI_TEST_PATH : undefined
  return { ...cleanEnv(), ...(few === undefined ? {} : { PATH: few }), ...settings }
}

/**
 * Options of Node for a process that lives for seconds: with a larger young generation and without threads for it, a
 * server takes a fifth less processor time.
 */
const SHORT_LIVED = ['--min-semi-space-size=16', '--single-threaded-gc']

const CRASH_HOOK = new URL('../support/crash-hook.ts', import.meta.url)
/**
 * A server must not outlive a test run that is killed. With these options of Node, it ends when its parent has ended, and
 * at the crash point of RETRAI_CRASH_AT (`test/support/crash-points.ts`).
 */
const WATCH_PARENT = `import { isMainThread } from 'node:worker_threads'
const parent = process.ppid
const look = () => process.ppid === parent || process.kill(process.pid, 'SIGKILL')
if (isMainThread) setInterval(look, 500).unref()
if (process.env.RETRAI_CRASH_AT) await import(${JSON.stringify(CRASH_HOOK)})`
export const WITH_PARENT = [
  ...SHORT_LIVED,
  '--import',
  `data:text/javascript,${encodeURIComponent(WATCH_PARENT)}`,
]

export type Finished = { readonly code: number; readonly stdout: string; readonly stderr: string }

/** The values that a command has printed, one a line. */
export const jsonLines = ({ stdout }: Pick<Finished, 'stdout'>) =>
  stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))

/** Runs `retrai …` in this process, to its end. Rejects if that takes longer than a test waits. */
export async function retrai(
  args: readonly string[],
  env: NodeJS.ProcessEnv = cleanEnv(),
): Promise<Finished> {
  const running = begin(args, env)
  return { code: await running.exit, stdout: running.stdout, stderr: running.stderr }
}

/** Runs `retrai …`, which must end with 3, print no result, and say this. @returns all that it says */
export async function refused(
  args: readonly string[],
  why: string | RegExp,
  env?: NodeJS.ProcessEnv,
): Promise<string> {
  const { code, stdout, stderr } = await retrai(args, env)
  const said = typeof why === 'string' ? expect.stringContaining(why) : expect.stringMatching(why)
  expect([code, stdout, stderr]).toEqual([3, '', said])
  return stderr
}

/** `retrai …` in this process, while it runs. */
export function begin(args: readonly string[], env: NodeJS.ProcessEnv): RunningCommand {
  return new RunningCommand(args, env)
}

/** The same as a process of its own. @param launcher a program that starts it */
export function retraiProcess(
  args: readonly string[],
  env: NodeJS.ProcessEnv = cleanEnv(),
  launcher: readonly string[] = [],
): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const options = { env, timeout: PATIENCE_MS, killSignal: 'SIGKILL' } as const
    const [program = '', ...rest] = [...launcher, process.execPath, ...SHORT_LIVED, CLI, ...args]
    execFile(program, rest, options, (error, stdout, stderr) => {
      if (error?.killed) {
        reject(
          new Error(`retrai ${args.join(' ')} does not end. It printed:\n${stdout}\n${stderr}`),
        )
      }
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr })
    })
  })
}

/** Starts `retrai serve …` and waits until it is ready. */
export const startServer = (
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  launcher: readonly string[] = [],
): Promise<ServerProcess> =>
  within(
    startServerProcess(args, env, CLI, launcher, WITH_PARENT),
    () => `retrai serve ${args.join(' ')} to be ready`,
  )

/** What a command prints, while it prints it. */
class Printed {
  stdout = ''
  stderr = ''
  ended = false
  #wake: () => void = () => {}

  add(to: 'stdout' | 'stderr', text: string): void {
    this[to] += text
    this.#wake()
  }

  end(): void {
    this.ended = true
    this.#wake()
  }

  /** Resolves to the match as soon as the output matches; rejects if the command ends before, or it takes too long. */
  prints(wanted: RegExp, patienceMs?: number): Promise<RegExpExecArray> {
    const soFar = () => `${wanted}. It printed:\n${this.stdout}\n${this.stderr}`
    return within(this.#printed(wanted), soFar, patienceMs)
  }

  async #printed(wanted: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const found = wanted.exec(this.stdout) ?? wanted.exec(this.stderr)
      if (found !== null) return found
      if (this.ended) throw new Error(`no ${wanted} in:\n${this.stdout}\n${this.stderr}`)
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }
}

/** A command line that is carried out in this process. */
class RunningCommand extends Printed {
  readonly #args: readonly string[]
  readonly #ending: Promise<number>
  readonly #signals = new EventEmitter()

  constructor(args: readonly string[], env: NodeJS.ProcessEnv) {
    super()
    const streams = { stdout: this.#stream('stdout'), stderr: this.#stream('stderr') }
    const io = { env, stdin: Readable.from([]), ...streams, exitCode: 0 }
    this.#args = args
    const ending = runCommandLine(args, Object.assign(this.#signals, io))
    this.#ending = ending.finally(() => this.end())
    this.#ending.catch(() => {})
  }

  /** The exit code. Rejects if the command does not end for long after somebody asked. */
  get exit(): Promise<number> {
    const soFar = () => `It printed:\n${this.stdout}\n${this.stderr}`
    return within(this.#ending, () => `retrai ${this.#args.join(' ')} to end. ${soFar()}`)
  }

  /** As Ctrl+C does. */
  interrupt(): void {
    this.#signals.emit('SIGINT')
  }

  #stream(name: 'stdout' | 'stderr'): Writable {
    return new Writable({
      decodeStrings: false,
      write: (chunk, _encoding, done) => {
        this.add(name, String(chunk))
        done()
      },
    })
  }
}

/** A process of a command while it runs. */
export class Running extends Printed {
  readonly child: ChildProcess
  /** The exit code, after all output has come; null if a signal ended it. */
  readonly exit: Promise<number | null>

  constructor(command: readonly string[], env: NodeJS.ProcessEnv) {
    super()
    const [file = '', ...args] = command
    this.child = spawn(file, args, { env, stdio: 'pipe' })
    this.child.stdout?.on('data', (chunk) => this.add('stdout', String(chunk)))
    this.child.stderr?.on('data', (chunk) => this.add('stderr', String(chunk)))
    this.exit = once(this.child, 'close').then(([code]) => {
      this.end()
      return code
    })
  }

  type(text: string): void {
    this.child.stdin?.write(text)
  }
}

/** `retrai …` as a process, while it runs. */
export function start(args: readonly string[], env: NodeJS.ProcessEnv): Running {
  return new Running([process.execPath, ...WITH_PARENT, CLI, ...args], env)
}

/** A command that ends with its test. */
export function kept(running: Running): Running {
  onTestFinished(async () => {
    running.child.kill('SIGKILL')
    await running.exit
  })
  return running
}

const PTY = `
import os, pty, sys
status = pty.spawn(sys.argv[1:])
sys.exit(os.waitstatus_to_exitcode(status))`

/**
 * `retrai …` at a terminal, where stdout and stderr are the same.
 * @param script of Python, which makes that terminal
 */
export function startAtTerminal(
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  script = PTY,
): Running {
  const command = ['python3', '-c', script, process.execPath, ...SHORT_LIVED, CLI, ...args]
  return new Running(command, { ...env, TERM: 'xterm-256color' })
}

/**
 * Watches a run to its end; resolves to all events, in their order. Unlike the client of a person, it fails if the
 * connection is lost.
 */
export async function observe(
  baseUrl: string,
  runId: string,
  onEvent: (event: AgentEvent) => void = () => {},
): Promise<AgentEvent[]> {
  const lost = new AbortController()
  const seen: AgentEvent[] = []
  const watched = createClient({ baseUrl }).watch(runId, {
    signal: lost.signal,
    onState: (state) => {
      if (state === 'reconnecting') lost.abort(new Error('the connection was lost'))
    },
  })
  for await (const event of watched) {
    seen.push(event)
    onEvent(event)
  }
  return seen
}
