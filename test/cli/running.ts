import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const CLI = fileURLToPath(new URL('../../src/cli/retrai.ts', import.meta.url))

/** `retrai …` while it runs. */
export class Running {
  readonly child: ChildProcess
  /** The exit code, once all output is here; null where a signal ended it. */
  readonly exit: Promise<number | null>
  stdout = ''
  stderr = ''
  #ended = false
  #wake: () => void = () => {}

  constructor(command: readonly string[], env: NodeJS.ProcessEnv) {
    const [file = '', ...args] = command
    this.child = spawn(file, args, { env, stdio: 'pipe' })
    this.child.stdout?.on('data', (chunk) => {
      this.stdout += chunk
      this.#wake()
    })
    this.child.stderr?.on('data', (chunk) => {
      this.stderr += chunk
      this.#wake()
    })
    this.exit = once(this.child, 'close').then(([code]) => {
      this.#ended = true
      this.#wake()
      return code
    })
  }

  /** Resolves to what it has printed as soon as that matches; rejects when it ends before. */
  async prints(wanted: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const found = wanted.exec(this.stdout) ?? wanted.exec(this.stderr)
      if (found !== null) return found
      if (this.#ended) throw new Error(`no ${wanted} in:\n${this.stdout}\n${this.stderr}`)
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  type(text: string): void {
    this.child.stdin?.write(text)
  }
}

export function start(args: readonly string[], env: NodeJS.ProcessEnv): Running {
  return new Running([process.execPath, CLI, ...args], env)
}

const PTY = `
import os, pty, sys
status = pty.spawn(sys.argv[1:])
sys.exit(os.waitstatus_to_exitcode(status))`

/** At a terminal, on which stdout and stderr are the same. */
export function startAtTerminal(args: readonly string[], env: NodeJS.ProcessEnv): Running {
  const command = ['python3', '-c', PTY, process.execPath, CLI, ...args]
  return new Running(command, { ...env, TERM: 'xterm-256color' })
}
