import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { startStandIn } from '../support/eventstore-stand-in/index.ts'
import { eventsInFile, eventsInStandIn, type StoredEvent } from './evidence.ts'
import type { Strike, StrikeName } from './strikes.ts'

export type StoreName = 'embedded' | 'stand-in'

/** What the servers of a storm stand on. */
export type Ground = {
  /** The data folder of each server. */
  readonly dataDirs: readonly string[]
  /** Settings of all servers. */
  readonly settings: Readonly<Record<string, string>>
  /** Strikes against the store by their names; each resolves when it is over. */
  readonly strikes: Readonly<Partial<Record<StrikeName, (strike: Strike) => Promise<void>>>>
  /** Undoes all that was done to the store. */
  calm(): Promise<void>
  /** The stream of a run as it is stored, once no server has the store open. */
  events(runId: string): StoredEvent[]
  close(): Promise<void>
}

export function openGround(name: StoreName, folder: string): Promise<Ground> {
  return name === 'embedded' ? embedded(folder) : standIn(folder)
}

/** One server and its file. */
async function embedded(folder: string): Promise<Ground> {
  const dataDir = join(folder, 'data')
  return {
    dataDirs: [dataDir],
    settings: {},
    strikes: {},
    calm: async () => {},
    events: (runId) => eventsInFile(dataDir, runId),
    close: async () => {},
  }
}

/** How long a server waits for an answer of its store, milliseconds: less than usual, for speed. */
const DEADLINE_MS = 1_500

/** How long a server must be silent before the other takes its runs over, milliseconds. */
export const LEASE_MS = 1_000

/** Two servers on one store, which is the stand-in for an EventStoreDB. */
async function standIn(folder: string): Promise<Ground> {
  const store = await startStandIn()
  const { faults } = store
  const dataDirs = [join(folder, 'data-1'), join(folder, 'data-2')]
  for (const dataDir of dataDirs) await mkdir(dataDir)
  const lasting = (begin: () => unknown, end: () => unknown) => async (strike: Strike) => {
    await begin()
    await new Promise((resolve) => setTimeout(resolve, strike.lastsMs))
    await end()
  }
  const slow = (ms: number) => () => {
    faults.delayMs = ms
  }
  return {
    dataDirs,
    settings: {
      EVENTSTORE_URL: `${store.connectionString}&defaultDeadline=${DEADLINE_MS}`,
      RETRAI_LEASE_SECONDS: String(LEASE_MS / 1000),
    },
    strikes: {
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
    calm: async () => {
      slow(0)()
      faults.thaw()
      await faults.up()
    },
    events: (runId) => eventsInStandIn(store, runId),
    close: () => store.stop(),
  }
}
