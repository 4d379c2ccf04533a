/** Main module of a thread that verifies batches of records. */
import { parentPort } from 'node:worker_threads'
import {
  advanced,
  type Batch,
  follow,
  type KnownRuns,
  prepare,
  type Verified,
} from './verify-batch.ts'

/** Follow the first `count` of the batches that were sent and not followed. `known` are the runs before them. */
type Follow = { readonly type: 'follow'; readonly count: number; readonly known: KnownRuns }
/** All batches are prepared and followed in order. */
export type Order = { readonly type: 'batch'; readonly batch: Batch } | Follow

/** `ready` once, `prepared` after each batch, and `verified` for each that is followed. */
export type Answer =
  | { readonly type: 'ready' }
  | { readonly type: 'prepared' }
  | { readonly type: 'verified'; readonly verified: Verified }

const batches: Batch[] = []
const prepared: ReturnType<typeof prepare>[] = []
const follows: Follow[] = []
let isWorking = false

const answer = (message: Answer): void => parentPort?.postMessage(message)

/** One step, so that an order to follow need not wait until all batches are prepared. */
function work(): void {
  const [order] = follows
  const first = order === undefined ? undefined : prepared.shift()
  if (order !== undefined && first !== undefined) {
    const verified = follow(first, order.known)
    const count = order.count - 1
    if (count === 0) follows.shift()
    else follows[0] = { ...order, count, known: advanced(order.known, verified) }
    answer({ type: 'verified', verified })
  } else {
    const batch = batches.shift()
    isWorking = batch !== undefined
    if (batch === undefined) return
    prepared.push(prepare(batch))
    answer({ type: 'prepared' })
  }
  setImmediate(work)
}

parentPort?.on('message', (order: Order) => {
  if (order.type === 'batch') batches.push(order.batch)
  else follows.push(order)
  if (!isWorking) setImmediate(work)
  isWorking = true
})
answer({ type: 'ready' })
