import { setTimeout } from 'node:timers/promises'
import type { Context } from './calls.ts'
import type { AppendOutcome, Expected, ProposedEvent } from './log.ts'

/** What becomes of an append. One that is `dropped` or `lost` stores nothing. */
type Committed = AppendOutcome | { readonly type: 'dropped' } | { readonly type: 'lost' }

/** The appends that are written and wait for the other nodes. */
const underWay = new WeakMap<Context['log'], Set<string>>()

/**
 * Stores an append once the other nodes have it. If the same append comes while the first one is under way, it waits in
 * vain: a real server drops it when its commit time-out is over. If another node has become the leader meanwhile, the append
 * is cut off the log of this one.
 */
export async function commit(
  { log, faults }: Pick<Context, 'log' | 'faults'>,
  stream: string,
  expected: Expected,
  events: readonly ProposedEvent[],
): Promise<Committed> {
  if (faults.commitMs === 0) return log.append(stream, expected, events)
  const same = JSON.stringify([stream, String(expected), events.map(({ id }) => id)])
  const others = underWay.get(log) ?? new Set()
  underWay.set(log, others)
  if (others.has(same)) {
    await setTimeout(faults.commitTimeoutMs)
    return { type: 'dropped' }
  }
  others.add(same)
  const { term } = faults
  await setTimeout(faults.commitMs)
  others.delete(same)
  return faults.term === term ? log.append(stream, expected, events) : { type: 'lost' }
}
