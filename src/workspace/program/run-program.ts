import { spawn } from 'node:child_process'
import type { Answers } from '../answers.ts'

type Input = number | Buffer | null

export type Ran = {
  readonly answer: Answers['grep']
  /** What it printed, in the order in which it came, without what is in `stderr`. */
  readonly stdout: Buffer
  /** Both outputs, in the order in which they came. */
  readonly output: Buffer
}

/** Takes the place of an exit code if a signal ended the program. */
export const KILLED = 128

/**
 * Runs a program to its end. The limit of time is that of the question.
 * @param input an open file, or what it reads; null if nothing
 * @param maxBytes of each of its outputs: it is killed if it prints more
 */
export function run(
  [file = '', ...args]: readonly string[],
  {
    cwd,
    input = null,
    files = [],
    env = {},
    maxBytes,
  }: {
    readonly cwd: string
    readonly input?: Input
    /** Open files, which it gets after its three. */
    readonly files?: readonly number[]
    readonly env?: Readonly<Record<string, string>>
    readonly maxBytes: number
  },
): Promise<Ran> {
  const stdin = input === null ? 'ignore' : typeof input === 'number' ? input : 'pipe'
  const { promise, resolve, reject } = Promise.withResolvers<Ran>()
  const child = spawn(file, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: [stdin, 'pipe', 'pipe', ...files],
    detached: true,
  })
  child.on('error', reject)
  if (input instanceof Buffer) child.stdin?.on('error', () => {}).end(input)
  const pieces: { readonly isError: boolean; readonly chunk: Buffer }[] = []
  const bytes = { out: 0, error: 0 }
  let isCut = false
  const take = (isError: boolean) => (chunk: Buffer) => {
    const side = isError ? 'error' : 'out'
    const kept = chunk.subarray(0, maxBytes - bytes[side])
    bytes[side] += kept.length
    pieces.push({ isError, chunk: kept })
    if (kept.length === chunk.length || isCut) return
    isCut = true
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
  }
  child.stdout?.on('data', take(false))
  child.stderr?.on('data', take(true))
  child.on('close', (code) => {
    const of = (wanted: (isError: boolean) => boolean): Buffer =>
      Buffer.concat(pieces.flatMap(({ isError, chunk }) => (wanted(isError) ? [chunk] : [])))
    const stderr = of((isError) => isError).toString()
    resolve({
      answer: { exitCode: code ?? KILLED, stderr, isCut },
      stdout: of((isError) => !isError),
      output: of(() => true),
    })
  })
  return promise
}
