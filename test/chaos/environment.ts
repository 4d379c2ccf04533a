import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { streamOf } from '../../src/log/run-log.ts'
import { openEventStoreDb } from '../../src/store/eventstoredb/eventstoredb-store.ts'
import { readAll } from '../store/contract/support.ts'
import { startStandIn } from '../support/eventstore-stand-in/index.ts'
import { eventsInFile, eventsInStandIn, type StoredEvent } from './evidence.ts'
import type { FaultName, PlannedFault } from './faults.ts'

export type StoreName = 'embedded' | 'stand-in' | 'eventstoredb'

/** The data folders and the store that the servers of a chaos run use. */
export type Environment = {
  /** The data folder of each server. */
  readonly dataDirs: readonly string[]
  /** Settings of all servers. */
  readonly settings: Readonly<Record<string, string>>
  /** The faults of the store by their names; each resolves when it is over. */
  readonly faults: Readonly<Partial<Record<FaultName, (fault: PlannedFault) => Promise<void>>>>
  /** Ends all faults of the store. */
  endFaults(): Promise<void>
  /** The stream of a run as it is stored. No server may have the store open. */
  events(runId: string): Promise<StoredEvent[]>
  close(): Promise<void>
}

/** @param url of the EventStoreDB, for the store of that name */
export function openEnvironment(
  name: StoreName,
  folder: string,
  url: string,
): Promise<Environment> {
  if (name === 'embedded') return embedded(folder)
  if (name === 'stand-in') return standIn(folder)
  return eventStoreDb(folder, url)
}

/** One server and its file. */
async function embedded(folder: string): Promise<Environment> {
  const dataDir = join(folder, 'data')
  return {
    dataDirs: [dataDir],
    settings: {},
    faults: {},
    endFaults: async () => {},
    events: async (runId) => eventsInFile(dataDir, runId),
    close: async () => {},
  }
}

/** How long a server waits for an answer of its store, milliseconds: shorter than usual, to save time. */
const DEADLINE_MS = 1_500

/** How long a server must be silent before the other takes over its runs, milliseconds. */
export const LEASE_MS = 1_000

/** What servers on one EventStoreDB share. */
const shared = (url: string) => ({
  EVENTSTORE_URL: `${url}${url.includes('?') ? '&' : '?'}defaultDeadline=${DEADLINE_MS}`,
  RETRAI_LEASE_SECONDS: String(LEASE_MS / 1000),
})

/** Three servers on one EventStoreDB. Whoever runs it may kill nodes meanwhile. */
async function eventStoreDb(folder: string, url: string): Promise<Environment> {
  const store = (await openEventStoreDb({ connectionString: url }))._unsafeUnwrap()
  return {
    dataDirs: await dataDirsIn(folder, 3),
    settings: shared(url),
    faults: {},
    endFaults: async () => {},
    events: (runId) => readAll(store, streamOf(runId)),
    close: () => store.close(),
  }
}

async function dataDirsIn(folder: string, count: number): Promise<string[]> {
  const dataDirs = Array.from({ length: count }, (_, n) => join(folder, `data-${n + 1}`))
  for (const dataDir of dataDirs) await mkdir(dataDir)
  return dataDirs
}

/** Two servers on one store, which is the stand-in for an EventStoreDB. */
async function standIn(folder: string): Promise<Environment> {
  const store = await startStandIn()
  const { faults } = store
  const lasting = (begin: () => unknown, end: () => unknown) => async (fault: PlannedFault) => {
    await begin()
    await new Promise((resolve) => setTimeout(resolve, fault.lastsMs))
    await end()
  }
  const slow = (ms: number) => () => {
    faults.delayMs = ms
  }
  return {
    dataDirs: await dataDirsIn(folder, 2),
    settings: shared(store.connectionString),
    faults: {
      cut: async () => faults.cutConnections(),
      lose_answers: async ({ times }) => faults.nextAppends('lose_answer', times),
      stay_silent: async () => faults.nextAppends('stay_silent'),
      swallow: async () => faults.nextAppends('swallow'),
      slow: lasting(slow(100), slow(0)),
      down: lasting(
        () => faults.down(),
        () => faults.up(),
      ),
      freeze: lasting(
        () => faults.freeze(),
        () => faults.thaw(),
      ),
      end_subscriptions: async () => faults.endSubscriptions(),
      fail_subscriptions: async () => faults.failSubscriptions(),
      fall_behind: async () => faults.fallBehind(),
    },
    endFaults: async () => {
      slow(0)()
      faults.thaw()
      await faults.up()
    },
    events: async (runId) => eventsInStandIn(store, runId),
    close: () => store.stop(),
  }
}
