import { spawn } from 'node:child_process'
import type { Readable } from 'node:stream'
import type { Answers } from '../protocol.ts'

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

type Options = {
  readonly cwd: string
  /** An open file, or what it reads; null if nothing. */
  readonly input?: Input
  readonly env?: Readonly<Record<string, string>>
  /** Of each of its outputs: it is killed if it prints more. */
  readonly maxBytes: number
}

/** Runs a program to its end. The limit of time is that of the question. */
export function run(
  [file = '', ...args]: readonly string[],
  { cwd, input = null, env = {}, maxBytes }: Options,
): Promise<Ran> {
  const stdin = input === null ? 'ignore' : typeof input === 'number' ? input : 'pipe'
  const { promise, resolve, reject } = Promise.withResolvers<Ran>()
  const stdio = [stdin, 'pipe', 'pipe'] as const
  const child = spawn(file, args, {
    ...{ cwd, env: { ...process.env, ...env }, stdio: [...stdio], detached: true },
  })
  child.on('error', reject)
  if (input instanceof Buffer) child.stdin?.on('error', () => {}).end(input)
  const all: Buffer[] = []
  let isCut = false
  const collect = (stream: Readable | null): Buffer[] => {
    const kept: Buffer[] = []
    let room = maxBytes
    stream?.on('data', (chunk: Buffer) => {
      const part = chunk.subarray(0, room)
      room -= part.length
      for (const pieces of [kept, all]) pieces.push(part)
      if (part.length === chunk.length || isCut) return
      isCut = true
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
    })
    return kept
  }
  const [out, errors] = [collect(child.stdout), collect(child.stderr)]
  child.on('close', (code) => {
    const stderr = Buffer.concat(errors).toString()
    const answer = { exitCode: code ?? KILLED, stderr, isCut }
    resolve({ answer, stdout: Buffer.concat(out), output: Buffer.concat(all) })
  })
  return promise
}
