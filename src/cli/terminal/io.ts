import { AsyncLocalStorage } from 'node:async_hooks'
import type { EventEmitter } from 'node:events'
import type { Readable, Writable } from 'node:stream'

/** What a command line has of its process: variables, streams, its exit code, and SIGINT as an event. */
export type Io = Pick<EventEmitter, 'once' | 'off'> & {
  readonly env: NodeJS.ProcessEnv
  readonly stdin: Readable & { readonly isTTY?: boolean }
  readonly stdout: Output
  readonly stderr: Output
  exitCode?: number | string | null | undefined
}
export type Output = Writable & { readonly isTTY?: boolean; readonly columns?: number }

const current = new AsyncLocalStorage<Io>()

/** What the command line that is carried out here has. */
export const io = (): Io => current.getStore() ?? process

export const withIo = <T>(given: Io, work: () => T): T => current.run(given, work)
