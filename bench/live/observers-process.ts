/** Many observers in a process of their own. */
import { answerCalls } from '../support/calls.ts'
import { Observer, type Target } from './observer.ts'
import { now } from './writer.ts'

/** Connections that are opened at once. */
const OPENING_AT_ONCE = 50
/** The close code of a run that has ended. */
const NORMAL = 1000
/** The text just before the time at which a frame was caused: in a record, and in the first piece of a reply. */
const STAMP = Buffer.from('"changes":{"model_name":"')
const PART_STAMP = Buffer.from('"offset":0,"text":"')
const PART = Buffer.from('{"kind":"part')

let observers: Observer[] = []
/** Nanoseconds from append to receipt, of the frames that hold the time of their append. */
let delays: number[] = []
let received = 0
let wanted = 0
let complete = Promise.withResolvers<number>()

function count(): void {
  received += 1
  if (received === wanted) complete.resolve(now())
}

/** Of the parts of a reply, only the first counts, because the number of the others depends on the pace. */
function countAndTime(buffer: Buffer, at: number, length: number): void {
  // A compressed frame may be shorter than this, and may be the last one of the buffer.
  const isPart = buffer.subarray(at, at + PART.length).equals(PART)
  const stamp = isPart ? PART_STAMP : STAMP
  const start = buffer.indexOf(stamp, at)
  const isStamped = start >= 0 && start < at + length
  if (isStamped) {
    const from = start + stamp.length
    delays.push(now() - Number.parseInt(buffer.toString('latin1', from, from + 20), 10))
  }
  if (isStamped || !isPart) count()
}

/** An observer that loses its server would let the bench wait forever. */
function add(observer: Observer): void {
  observers.push(observer)
  observer.socket.once('close', () => {
    if (received >= wanted || observer.closed === NORMAL) return
    const code = observer.closed ?? 'no code'
    complete.reject(new Error(`closed with ${code} after ${received} of ${wanted} frames`))
  })
}

const operations = {
  /** Opens connections, and resolves when the server has accepted all. */
  open: async ({ target, observers: wantedObservers }: Opening) => {
    for (let done = 0; done < wantedObservers; done += OPENING_AT_ONCE) {
      const batch = Math.min(OPENING_AT_ONCE, wantedObservers - done)
      const opening = Array.from({ length: batch }, () => Observer.open(target, countAndTime))
      for (const observer of await Promise.all(opening)) add(observer)
    }
  },
  /** Opens connections that never read. */
  openUnread: async ({ target, observers: wantedObservers }: Opening) => {
    for (let done = 0; done < wantedObservers; done += 1) {
      const observer = await Observer.open(target)
      observer.socket.pause()
      observers.push(observer)
    }
  },
  /** Opens connections as fast as it can, and does not wait. @returns when it began */
  openAtOnce: ({ target, observers: wantedObservers }: Opening) => {
    const start = now()
    for (let done = 0; done < wantedObservers; done += 1) {
      void Observer.open(target, count).then(add)
    }
    return start
  },
  /** Starts counting from zero, up to `expected` frames in all. */
  expect: (frames: number) => {
    received = 0
    wanted = frames
    delays = []
    complete = Promise.withResolvers<number>()
    complete.promise.catch(() => {})
  },
  /** When the last of the expected frames came. */
  complete: () => complete.promise,
  /** A quantile of the delays, milliseconds. */
  delayMs: (quantile: number) => {
    const sorted = delays.toSorted((a, b) => a - b)
    return (sorted[Math.floor(quantile * (sorted.length - 1))] ?? Number.NaN) / 1e6
  },
  /** Bytes received over all connections. */
  bytes: () => observers.reduce((sum, { socket }) => sum + socket.bytesRead, 0),
  close: () => {
    for (const { socket } of observers) socket.destroy()
    observers = []
  },
}
type Opening = { readonly target: Target; readonly observers: number }
export type ObserverOperations = typeof operations

answerCalls(operations)
