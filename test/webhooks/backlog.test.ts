import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { Backlog } from '../../src/webhooks/backlog.ts'
import { DeliveryBook } from '../../src/webhooks/delivery-book.ts'
import { temporaryFolder } from '../runner/support.ts'

const WEBHOOK = randomUUID()

async function openBook(): Promise<DeliveryBook> {
  const book = DeliveryBook.open(join(await temporaryFolder(), 'webhooks.sqlite'), {
    warn: (...said) => expect(said).toEqual([]),
  })
  onTestFinished(() => book.close())
  return book
}

const due = (run_id: string, seq: number) => ({ run_id, seq, hash: 'h', kind: 'run_end', ts: 1 })

/** A backlog with two records of each run. */
async function backlogOf(...runs: readonly string[]) {
  const book = await openBook()
  const backlog = new Backlog(book, WEBHOOK)
  backlog.add(
    'a cursor',
    runs.flatMap((run) => [due(run, 0), due(run, 1)]),
  )
  const tried = (run_id: string, error: string | null) => ({
    webhook_id: 'msg',
    run_id,
    seq: 0,
    kind: 'run_end',
    attempt: 1,
    at: '',
    status: null,
    error,
    duration_ms: 1,
  })
  return {
    book,
    backlog,
    received: (run: string) => backlog.received(book.first(WEBHOOK, run).n, tried(run, null)),
    refused: (run: string, now: number) => backlog.refused(tried(run, 'away'), now),
  }
}

test('a run is tried again after a pause, and holds up no other run', async () => {
  const { book, backlog, received, refused } = await backlogOf('a', 'b')
  expect([backlog.begin(0), backlog.begin(0)]).toEqual([
    { runId: 'a', attempt: 1 },
    { runId: 'b', attempt: 1 },
  ])
  expect(backlog.begin(0)).toBeNull()
  expect(refused('a', 0)).toBe(0)
  received('b')
  expect(backlog.begin(1)).toEqual({ runId: 'b', attempt: 1 })
  received('b')
  expect(backlog.pending).toBe(2)
  expect(backlog.begin(1)).toBeNull()
  expect(backlog.waitFrom(1)).toBeGreaterThan(1)
  // A server that is started again knows all of it.
  const later = new Backlog(book, WEBHOOK)
  expect([later.pending, later.nextTry]).toEqual([2, backlog.nextTry])
  expect(later.begin(10)).toEqual({ runId: 'a', attempt: 2 })
})

test('while nothing gets through, one run at a time is tried; then all that wait are', async () => {
  const { backlog, received, refused } = await backlogOf('a', 'b', 'c')
  for (const run of ['a', 'b', 'c']) expect(backlog.begin(0)?.runId).toBe(run)
  refused('a', 1)
  refused('b', 2)
  received('c')
  expect(backlog.begin(2)).toEqual({ runId: 'c', attempt: 1 })
  refused('c', 3)
  expect(backlog.begin(100)).toEqual({ runId: 'a', attempt: 2 })
  expect(backlog.begin(100)).toBeNull()
  refused('a', 100)
  // After two failures in a row, the next try waits.
  expect(backlog.begin(100)).toBeNull()
  expect(backlog.begin(102)?.runId).toBe('b')
  received('b')
  expect(backlog.begin(102)?.runId).toBeDefined()
  expect(backlog.begin(102)?.runId).toBeDefined()
})

test('what a person resumes is tried at once, as if it had not been tried', async () => {
  const { backlog, refused } = await backlogOf('a')
  expect(backlog.begin(0)?.runId).toBe('a')
  refused('a', 0)
  expect(backlog.begin(0)).toBeNull()
  backlog.release(true)
  expect(backlog.begin(0)).toEqual({ runId: 'a', attempt: 1 })
  expect(refused('a', 50)).toBe(50)
})
