import { spawn } from 'node:child_process'
import type { Readable } from 'node:stream'
import type { Answers } from '../protocol.ts'

/** How a program ended, and as its body what it printed, in the order in which it came. */
export type Ran = Answers['grep'] & { readonly body: Buffer }

/** Takes the place of an exit code if a signal ended the program. */
const KILLED = 128

type Options = {
  readonly cwd: string
  /** An open file, or what it reads; null if nothing. */
  readonly input?: number | Buffer | null
  readonly env?: Readonly<Record<string, string>>
  /** Of each of its outputs: it is killed if it prints more. */
  readonly maxBytes: number
  /** Whether its errors are in the body, too. */
  readonly isMerged?: boolean
}

/** Runs a program to its end. The limit of time is that of the question. */
export function run(
  [file = '', ...args]: readonly string[],
  { cwd, input = null, env = {}, maxBytes, isMerged = false }: Options,
): Promise<Ran> {
  const stdin = input === null ? 'ignore' : typeof input === 'number' ? input : 'pipe'
  const { promise, resolve, reject } = Promise.withResolvers<Ran>()
  const child = spawn(file, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: [stdin, 'pipe', 'pipe'],
    detached: true,
  })
  child.on('error', reject)
  if (input instanceof Buffer) child.stdin?.on('error', () => {}).end(input)
  const body: Buffer[] = []
  const errors: Buffer[] = []
  let isCut = false
  const collect = (stream: Readable | null, kept: readonly Buffer[][]): void => {
    let room = maxBytes
    stream?.on('data', (chunk: Buffer) => {
      const part = chunk.subarray(0, room)
      room -= part.length
      for (const pieces of kept) pieces.push(part)
      if (part.length === chunk.length || isCut) return
      isCut = true
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
    })
  }
  collect(child.stdout, [body])
  collect(child.stderr, isMerged ? [errors, body] : [errors])
  child.on('close', (code) => {
    const stderr = Buffer.concat(errors).toString()
    resolve({ exitCode: code ?? KILLED, stderr, isCut, body: Buffer.concat(body) })
  })
  return promise
}
