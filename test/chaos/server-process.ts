import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { CLI, serverEnv, WITH_PARENT } from '../cli/support.ts'

const KEPT_LINES = 200

/** How a process ended. */
export type Exit = { readonly code: number | null; readonly signal: NodeJS.Signals | null }

const MODELS = fileURLToPath(new URL('./models.yaml', import.meta.url))

/** The children of all threads of a process; none if it is gone. */
function childrenOf(pid: number): number[] {
  try {
    const threads = readdirSync(`/proc/${pid}/task`)
    const lists = threads.map((thread) =>
      readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8'),
    )
    return lists.flatMap((list) => list.split(' ').filter(Boolean).map(Number))
  } catch {
    return []
  }
}

function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
  } catch {
    return ''
  }
}

/** A real `retrai serve`. */
export class Server {
  /** Resolves when the process is gone. Never rejects. */
  readonly exit: Promise<Exit>
  /** Resolves to its address, or to null if it ends before it listens. */
  readonly url: Promise<string | null>
  readonly #process: ChildProcess
  readonly #lines: string[] = []

  constructor(
    options: {
      readonly dataDir: string
      readonly modelUrl: string
      /** Where it starts. Runs that name no folder work there. */
      readonly cwd?: string
    },
    settings: Readonly<Record<string, string>> = {},
  ) {
    const args = [...WITH_PARENT, CLI, 'serve', '--port', '0']
    const model = { RETRAI_LLM_BASE_URL: options.modelUrl, RETRAI_PRICES: MODELS }
    this.#process = spawn(process.execPath, [...args, '--data-dir', options.dataDir], {
      cwd: options.cwd ?? process.cwd(),
      env: serverEnv({ ...model, ...settings }),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.exit = once(this.#process, 'exit').then(([code, signal]) => ({ code, signal }))
    this.url = Promise.race([this.#listening(), this.exit.then(() => null)])
  }

  get pid(): number | undefined {
    return this.#process.pid
  }

  /** The last lines that it printed. */
  get output(): string {
    return this.#lines.join('\n')
  }

  kill(signal: NodeJS.Signals): void {
    this.#process.kill(signal)
  }

  /** The process that runs its commands. Only Linux shows which one that is. */
  get #runner(): number | undefined {
    return childrenOf(this.pid ?? 0).find((pid) => /runner-program/.test(commandLine(pid)))
  }

  /** The state of that process as the kernel shows it: `T` if it is stopped; null if there is none. */
  get runnerState(): string | null {
    const stat =
      this.#runner === undefined ? '' : readFileSync(`/proc/${this.#runner}/stat`, 'utf8')
    return /\) ([A-Z]) /i.exec(stat)?.[1] ?? null
  }

  signalRunner(signal: NodeJS.Signals): void {
    if (this.#runner !== undefined) process.kill(this.#runner, signal)
  }

  /** Asks it to stop, and waits until it has. */
  async stop(): Promise<Exit> {
    this.kill('SIGTERM')
    return await this.exit
  }

  #listening(): Promise<string> {
    return new Promise((resolve) => {
      for (const input of [this.#process.stdout, this.#process.stderr]) {
        if (input === null) continue
        createInterface({ input }).on('line', (line) => {
          this.#lines.push(line)
          if (this.#lines.length > KEPT_LINES) this.#lines.shift()
          const url = /(?:ready|listens) at (http[^\s",]+)/.exec(line)?.[1]
          if (url !== undefined) resolve(url)
        })
      }
    })
  }
}
