import { randomUUID } from 'node:crypto'
import { errAsync, ok, type ResultAsync } from 'neverthrow'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { Auth } from '../../src/auth/auth.ts'
import { TOKEN_LEDGER } from '../../src/auth/token-ledger.ts'
import type { RunCommand } from '../../src/domain/commands.ts'
import type { RunRecord } from '../../src/domain/records.ts'
import { copyLog } from '../../src/log/copy-log.ts'
import { handleCommand } from '../../src/log/handle-command.ts'
import { ensureLogId, LOG_ID_STREAM } from '../../src/log/log-identity.ts'
import { streamOf } from '../../src/log/run-log.ts'
import { redactRun } from '../../src/redaction/redact-run.ts'
import { REDACTIONS } from '../../src/redaction/redaction-index.ts'
import { Redactor } from '../../src/redaction/redactor.ts'
import { type EventStore, storeWith } from '../../src/store/event-store.ts'
import { append, prepare } from '../support/append-records.ts'
import { memoryStore } from '../support/memory-store.ts'
import { createdRecord, EXAMPLE_CONFIG } from '../support/run-records.ts'
import { newSigning } from '../support/signing.ts'

const { sign } = newSigning()

const RUN_ID = '550e8400-e29b-41d4-a716-446655440000'
const NEW_RUN_ID = '550e8400-e29b-41d4-a716-446655440001'
const now = () => 1_770_000_000
const log = { info: () => {}, warn: () => {}, error: () => {} }

const UNKNOWN = { type: 'outcome_unknown', message: 'no answer' } as const
const AWAY = { type: 'store_unavailable', message: 'it is away' } as const
const FULL = { type: 'store_failed', message: 'the disk is full' } as const

/** What happens to the appends of a command, one after the other; the last one happens to all that follow. */
type Fault = 'stored, no answer' | 'lost, no answer' | 'away' | 'full'

let store: EventStore
beforeEach(() => {
  store = memoryStore()
})

/** The store with faults, from now on; `readable` is false if it answers no reads after its first fault. */
function withFaults(faults: readonly Fault[], readable: boolean): EventStore {
  let appends = 0
  return storeWith(store, {
    append: (stream, events, options) => {
      const fault = faults[Math.min(appends, faults.length - 1)]
      appends += 1
      if (fault === 'away') return errAsync(AWAY)
      if (fault === 'full') return errAsync(FULL)
      if (fault === 'lost, no answer') return errAsync(UNKNOWN)
      return store.append(stream, events, options).andThen(() => errAsync(UNKNOWN))
    },
    readStream: (...args) =>
      appends > 0 && !readable ? errAsync(AWAY) : store.readStream(...args),
  })
}

const command = (faulty: EventStore, runId: string, wanted: RunCommand) =>
  handleCommand(faulty, runId, wanted, { author: { commandId: randomUUID() }, now })

type Write = {
  readonly name: string
  readonly stream: string
  readonly prepare?: () => unknown
  readonly write: (faulty: EventStore) => ResultAsync<unknown, { readonly type: string }>
}

const created = () =>
  append(store, prepare(RUN_ID, null, [createdRecord(RUN_ID)], { commandId: 'c' }))

async function waiting(): Promise<void> {
  const common = { run_id: RUN_ID, iteration: 1, ts: now() }
  const question = { iteration: 1, summary: 'Is this right?' }
  const records: RunRecord[] = [
    createdRecord(RUN_ID),
    { ...common, kind: 'step_start', payload: { node: 'human_check' } },
    { ...common, kind: 'human_check_required', payload: question },
  ]
  ;(await append(store, prepare(RUN_ID, null, records, { commandId: 'c' })))._unsafeUnwrap()
}

const WRITES: readonly Write[] = [
  {
    name: 'create a run',
    stream: streamOf(NEW_RUN_ID),
    write: (faulty) =>
      command(faulty, NEW_RUN_ID, {
        type: 'create',
        runId: NEW_RUN_ID,
        config: EXAMPLE_CONFIG,
        system_prompt: 'Mend it.',
      }),
  },
  {
    name: 'resume a run',
    stream: streamOf(RUN_ID),
    prepare: waiting,
    write: (faulty) =>
      command(faulty, RUN_ID, {
        type: 'respond',
        decision: 'approve',
        reason: null,
        answers: null,
      }),
  },
  {
    name: 'abort a run',
    stream: streamOf(RUN_ID),
    prepare: created,
    write: (faulty) => command(faulty, RUN_ID, { type: 'abort', reason: null }),
  },
  {
    name: 'create a token',
    stream: TOKEN_LEDGER.stream,
    write: (faulty) => {
      const auth = new Auth({ store: faulty, sign, configured: null, clock: now, log })
      onTestFinished(() => auth.close())
      return auth.create({ name: 'root', role: 'admin', expiresIn: null }, 'local')
    },
  },
  {
    name: 'redact a text',
    stream: REDACTIONS.stream,
    prepare: waiting,
    write: (faulty) => {
      const redactor = new Redactor({ store: faulty, log })
      const deps = {
        ledger: faulty,
        store: faulty,
        redactor,
        sign,
        now,
        artifactHolds: async () => false,
        goingOn: () => [],
        artifacts: { read: async () => null, put: async () => '' },
      }
      redactor.start([])
      onTestFinished(() => redactor.stop())
      const request = { runId: RUN_ID, seq: 2, pointer: '/summary', reason: 'a name', secret: null }
      return redactRun(deps, request, { commandId: randomUUID() })
    },
  },
  {
    name: 'name a log',
    stream: LOG_ID_STREAM,
    write: (faulty) => ensureLogId(faulty),
  },
  {
    name: 'copy a log',
    stream: streamOf(NEW_RUN_ID),
    write: (faulty) => copyLog(newRun(), faulty),
  },
]

function newRun() {
  const { events } = prepare(NEW_RUN_ID, null, [createdRecord(NEW_RUN_ID)], { commandId: 'c' })
  const place = { stream: streamOf(NEW_RUN_ID), position: '', created: 0 }
  return [ok(events.map((event, revision) => ({ ...event, ...place, revision })))]
}

const lengthOf = async (stream: string): Promise<number> =>
  (await store.readStream(stream, { from: 0, direction: 'forward', limit: 100 }))
    .map((events) => events.length)
    .unwrapOr(0)

const ANSWERS: readonly {
  readonly faults: readonly Fault[]
  readonly readable: boolean
  readonly answer: 'done' | 'outcome_unknown' | 'store_unavailable' | 'store_failed'
}[] = [
  { faults: ['stored, no answer', 'away'], readable: false, answer: 'outcome_unknown' },
  { faults: ['stored, no answer', 'full'], readable: false, answer: 'outcome_unknown' },
  { faults: ['stored, no answer', 'away'], readable: true, answer: 'done' },
  { faults: ['stored, no answer', 'full'], readable: true, answer: 'done' },
  { faults: ['stored, no answer'], readable: false, answer: 'outcome_unknown' },
  { faults: ['lost, no answer', 'away'], readable: true, answer: 'outcome_unknown' },
  { faults: ['lost, no answer'], readable: true, answer: 'outcome_unknown' },
  { faults: ['away'], readable: true, answer: 'store_unavailable' },
  { faults: ['full'], readable: true, answer: 'store_failed' },
]

describe.each(WRITES)('$name', ({ stream, prepare: begin, write }) => {
  test.each(ANSWERS)('$faults, readable: $readable: $answer', async (expected) => {
    const { faults, readable, answer } = expected
    await begin?.()
    const before = await lengthOf(stream)
    const written = await write(withFaults(faults, readable))
    expect(written.isOk() ? 'done' : written.error.type).toBe(answer)
    const isStored = (await lengthOf(stream)) > before
    if (answer !== 'outcome_unknown') expect(isStored).toBe(answer === 'done')
  })
})

test('a command whose append was lost, and whose place another writer took, is decided again', async () => {
  ;(await created())._unsafeUnwrap()
  let isFirst = true
  const raced: EventStore = {
    ...withFaults(['away'], true),
    append: (stream, events, options) => {
      if (!isFirst) return store.append(stream, events, options)
      isFirst = false
      return command(store, RUN_ID, { type: 'configure', changes: { max_iterations: 3 } })
        .mapErr(() => UNKNOWN)
        .andThen(() => errAsync(UNKNOWN))
    },
  }
  const aborted = await command(raced, RUN_ID, { type: 'abort', reason: null })
  expect(aborted._unsafeUnwrap().state).toMatchObject({ config: { max_iterations: 3 } })
  expect(aborted._unsafeUnwrap().state.phase.type).toBe('ended')
})
