import { expect } from 'vitest'
import { GENESIS, recordHash } from '../../src/log/chain.ts'
import { decode, type LoggedRecord } from '../../src/log/codec.ts'
import { streamOf } from '../../src/log/run-log.ts'
import type { EventStore } from '../../src/store/event-store.ts'
import type { Answer } from '../support/site.ts'

/** Expects a 503 with `retry-after`, in time. */
export function expectUnavailable({ status, headers, took, text }: Answer): void {
  expect(status, text).toBe(503)
  expect(Number(headers.get('retry-after'))).toBeGreaterThan(0)
  expect(took).toBeLessThan(10_000)
}

/**
 * All records of a run in the log. Fails unless they are dense, each hash fits its record, the chain is whole, each
 * tool call has one result, and `run_end` comes once, as the last.
 */
export async function audit(store: EventStore, runId: string): Promise<LoggedRecord[]> {
  const records: LoggedRecord[] = []
  const page = { direction: 'forward', limit: 4096 } as const
  const events = await store.readStream(streamOf(runId), { ...page, from: 0 })
  for (const event of events._unsafeUnwrap()) {
    const logged = decode(event)._unsafeUnwrap()
    const { hash, ...unsigned } = logged.meta
    expect(logged.seq).toBe(records.length)
    expect(logged.meta.prev_hash).toBe(records.at(-1)?.meta.hash ?? GENESIS)
    expect(recordHash(logged.seq, logged.record, unsigned)).toBe(hash)
    records.push(logged)
  }
  const ends = records.filter(({ record }) => record.kind === 'run_end')
  expect(ends).toHaveLength(1)
  expect(records.at(-1)?.record.kind).toBe('run_end')
  const callIds = (kind: string) =>
    records.flatMap(({ record }) =>
      record.kind === kind && 'call_id' in record.payload ? [record.payload.call_id] : [],
    )
  expect(callIds('tool_result').sort()).toEqual(callIds('tool_call').sort())
  return records
}

/** How often a run was claimed. */
export const claimsOf = (records: readonly LoggedRecord[]): number =>
  records.filter(({ record }) => record.kind === 'run_claimed').length

const holding = (text: string | RegExp) =>
  typeof text === 'string' ? expect.stringContaining(text) : expect.stringMatching(text)

/** A command that ended with this code, and printed this. */
export const prints = (text: string | RegExp, code = 0) => ({ code, stdout: holding(text) })
export const fails = (text: string | RegExp, code = 3) => ({ code, stderr: holding(text) })
