/** Main module of a thread that checks records by themselves, ahead of the order in which they are verified. */
import { parentPort } from 'node:worker_threads'
import type { RecordedEvent } from '../../store/event-store.ts'
import { type LineFormat, readLine } from '../bundle/record-lines.ts'
import { isSoundAlone, storedRecord } from './verify-run.ts'

/** Records to check, as lines of an export or as events of a store. */
export type Contents =
  | { readonly lines: readonly string[]; readonly format: LineFormat }
  | { readonly events: readonly RecordedEvent[] }

/** `ready` once, then an answer to each `Contents`, in order: 1 for each record that is sound by itself. */
export type Answer =
  | { readonly type: 'ready' }
  | { readonly type: 'checked'; readonly sound: Uint8Array }

function isSoundLine(text: string, format: LineFormat): boolean {
  const line = readLine({ text, ended: true }, format)
  return typeof line !== 'string' && isSoundAlone(line)
}

function check(contents: Contents): Uint8Array {
  const sound =
    'lines' in contents
      ? contents.lines.map((text) => isSoundLine(text, contents.format))
      : contents.events.map((event) => isSoundAlone(storedRecord(event)))
  return Uint8Array.from(sound, Number)
}

const answer = (message: Answer): void => parentPort?.postMessage(message)

parentPort?.on('message', (contents: Contents) => {
  answer({ type: 'checked', sound: check(contents) })
})
answer({ type: 'ready' })
