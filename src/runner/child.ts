import type { ChildProcess } from 'node:child_process'
import { constants } from 'node:os'
import type { Readable, Writable } from 'node:stream'
import type { CommandGroup } from './command-group.ts'
import type { PolicyFacts } from './isolation/policy.ts'
import type { Ended } from './protocol.ts'

/** Time for the kernel to end a killed process. One that hangs in a device never ends. */
export const REAP_MS = 5_000

/** A process with everything that it starts. */
export type Started = {
  /** Null if it has no input. */
  readonly stdin: Writable | null
  readonly stdout: Readable
  readonly stderr: Readable
  /** How it ended by itself. */
  readonly exited: Promise<Ended>
  /** What it reported, after its end. */
  readonly report: () => Promise<string | null>
  readonly pid: number
  /** How it is isolated; null if it is not. */
  readonly facts: PolicyFacts | null
  /** Its control group; null if it has none. */
  readonly group: CommandGroup | null
  /** The pid namespace that it is in alone; null if it shares that of the server. */
  readonly namespace: () => string | null
  /** What each of its processes has in its environment: `NAME=value`; null if it has a namespace. */
  readonly mark: string | null
  /** Asks it to end. */
  readonly terminate: () => void
  /** Whether the processes that `terminate` reaches still live. */
  readonly lives: () => boolean
  /** Kills everything of it. */
  readonly kill: () => Promise<void>
}

/** Whether a process has not ended. */
export const lives = ({ exitCode, signalCode }: ChildProcess): boolean =>
  exitCode === null && signalCode === null

/** The exit code of a process; 128 + n if signal n ended it. */
export const untilExit = (child: ChildProcess): Promise<number> =>
  new Promise((resolve) => {
    child.once('exit', (code, signal) => {
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]))
    })
  })

/** The id of a process that was started. Rejects if it was not. */
export const spawned = (child: ChildProcess): Promise<number> =>
  new Promise((resolve, reject) => {
    child.on('error', reject)
    child.once('spawn', () => resolve(child.pid ?? 0))
  })

/** Resolves when nothing more comes from a stream. Never rejects. */
export const untilClosed = (stream: Readable): Promise<void> =>
  new Promise((resolve) => {
    stream.on('error', () => {})
    stream.once('close', resolve)
  })

/** Whether a promise, which never rejects, settles in time. */
export function settledWithin(promise: Promise<unknown>, ms: number): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms, false)
    void promise.then(() => {
      clearTimeout(timer)
      resolve(true)
    })
  })
}
