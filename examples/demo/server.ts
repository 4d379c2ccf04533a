import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const CLI = fileURLToPath(new URL('../../src/cli/retrai.ts', import.meta.url))

export type ServerProcess = {
  readonly url: string
  readonly process: ChildProcess
  stop(): Promise<void>
}

/**
 * Starts `retrai serve` as a process of its own and waits until it logs where it listens.
 * @param program the file that Node runs; by default the sources
 * @param launcher a command that runs the command after it, such as nsenter
 * @param options what Node is given before the program
 */
export async function startServerProcess(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  program: string = CLI,
  launcher: readonly string[] = [],
  options: readonly string[] = [],
): Promise<ServerProcess> {
  const command = [...launcher, process.execPath, ...options, program, 'serve', ...args]
  const [file = process.execPath, ...rest] = command
  const child = spawn(file, rest, {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exited = once(child, 'exit')
  const url = await Promise.race([
    readyAt(child),
    exited.then(([code]) => Promise.reject(new Error(`the server stopped with code ${code}`))),
  ])
  return {
    url,
    process: child,
    async stop() {
      child.kill('SIGTERM')
      await exited
    },
  }
}

function readyAt(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    if (child.stdout === null) throw new Error('stdout is a pipe')
    createInterface({ input: child.stdout }).on('line', (line) => {
      const url = /(?:ready|listens) at (http[^\s",]+)/.exec(line)?.[1]
      if (url !== undefined) resolve(url)
    })
  })
}
