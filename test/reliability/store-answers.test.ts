import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import type { RecordedEvent } from '../../src/store/event-store.ts'
import type { StandIn } from '../support/eventstore-stand-in/index.ts'
import { Site, type SiteServer } from '../support/site.ts'
import { ASKING, type Claim, EveryWrite, TOKEN } from './api-writes.ts'

/** How long the server waits for an answer of its store, milliseconds: shorter than usual, to save time. */
const DEADLINE_MS = 700
/** More than the attempts of all writes. */
const ALL = 10_000

let site: Site
let standIn: StandIn
let server: SiteServer
beforeAll(async () => {
  site = await Site.open()
  standIn = await site.standIn()
  const model = await site.model(ASKING)
  const store = {
    connectionString: `${standIn.connectionString}&defaultDeadline=${DEADLINE_MS}`,
  }
  server = await site.serve('data', { model, token: TOKEN, store })
})
afterAll(() => site.close())

type Fault = {
  readonly begin: () => unknown
  /** Whether it begins before each write, and not only once before all of them. */
  readonly again?: boolean
  /** What some answer must say. Otherwise, the fault did not reach the writes. */
  readonly claim: Claim
}

const appends = (fault: Parameters<StandIn['faults']['nextAppends']>[0]) => () =>
  standIn.faults.nextAppends(fault, ALL)
const set = (faults: Partial<StandIn['faults']>) => () => Object.assign(standIn.faults, faults)

let forget = (): void => {}
let gone: Promise<void> | undefined

/** The first append is stored, its answer is lost, and from then on the store refuses connections. */
async function lostAndGone(): Promise<void> {
  await endFaults()
  standIn.faults.nextAppends('lose_answer')
  forget = standIn.log.onAppended(() => {
    gone ??= standIn.faults.down()
  })
}

/** What an EventStoreDB can do to the writes of a server. */
const FAULTS: Readonly<Record<string, Fault>> = {
  'an answer is lost': {
    begin: () => standIn.faults.nextAppends('lose_answer'),
    again: true,
    claim: 'done',
  },
  'an answer is lost, and then nobody listens': {
    begin: lostAndGone,
    again: true,
    claim: 'unknown',
  },
  'all answers are lost': { begin: appends('lose_answer'), claim: 'done' },
  'nothing is answered': { begin: appends('stay_silent'), claim: 'done' },
  'nothing is stored or answered': { begin: appends('swallow'), claim: 'unknown' },
  'appends are dropped': { begin: appends('drop'), claim: 'unknown' },
  'appends are stored and dropped': { begin: appends('drop_stored'), claim: 'done' },
  'nobody listens': { begin: () => standIn.faults.down(), claim: 'nothing was done' },
  'the network is silent': { begin: () => standIn.faults.freeze(), claim: 'nothing was done' },
  'a leader is elected': { begin: set({ electing: true }), claim: 'unknown' },
  'there is no leader': { begin: set({ leaderless: true }), claim: 'nothing was done' },
  'the user may not write': { begin: set({ readOnly: '' }), claim: 'nothing was done' },
}

async function endFaults(): Promise<void> {
  const { faults } = standIn
  forget()
  await gone
  gone = undefined
  Object.assign(faults, { electing: false, leaderless: false, readOnly: null })
  while (faults.takeAppendFault() !== undefined);
  faults.thaw()
  await faults.up()
  await server.untilReady()
}

/** What the stand-in holds, as the writes look for it. */
const stored = (): RecordedEvent[] =>
  standIn.log.all.map(({ id, stream, type, data, metadata, revision, position }) => ({
    id,
    stream,
    type,
    created: 0,
    revision: Number(revision),
    position: String(position),
    data: Buffer.from(data).toString(),
    metadata: Buffer.from(metadata).toString(),
  }))

test.each(Object.entries(FAULTS))('%s: every answer agrees with the log', async (_, fault) => {
  // Also after a failure: else the store stays away from all other tests.
  onTestFinished(endFaults)
  const writes = new EveryWrite(site, server)
  const begin = async () => fault.begin()
  const claims = await (fault.again ? writes.cross(begin) : writes.crossAtOnce(begin))
  await endFaults()
  writes.compare(stored())
  expect(claims).toContain(fault.claim)
})
