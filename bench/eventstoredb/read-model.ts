import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { EventStoreDBClient, streamNameFilter } from '@eventstore/db-client'
import { Projector } from '../../src/projections/projector.ts'
import { openReadModel } from '../../src/projections/sqlite-read-model.ts'
import { openEventStoreDb } from '../../src/store/eventstoredb/eventstoredb-store.ts'
import { must } from '../loop/must.ts'
import { integer, median, table } from '../support/figures.ts'
import { atLeast } from '../support/verdicts.ts'

const ROUNDS = 3
const ASKED = 0.5
const log = { info: () => {}, warn: console.warn, error: console.error }

/** The read model built from all runs of the log, against the bare client's catch-up on the same events. */
export async function readModelBench(connectionString: string, folder: string): Promise<string> {
  const rounds: { ours: number; bare: number }[] = []
  let records = 0
  // The first round warms up both sides and does not count.
  for (let round = 0; round <= ROUNDS; round += 1) {
    const projected = await project(connectionString, join(folder, `${randomUUID()}.sqlite`))
    records = projected.records
    const speeds = { ours: projected.perSecond, bare: await follow(connectionString, records) }
    if (round > 0) rounds.push(speeds)
  }
  const speed = (side: 'ours' | 'bare') => integer(median(rounds.map((round) => round[side])))
  const ratio = median(rounds.map((round) => round.ours / round.bare))
  return table(
    ['records', 'read model from zero/s', 'bare client/s', 'asked', 'measured'],
    [[integer(records), speed('ours'), speed('bare'), ...atLeast(ratio, ASKED)]],
  )
}

async function project(connectionString: string, file: string) {
  const store = must(await openEventStoreDb({ connectionString }))
  const readModel = must(openReadModel({ file, log }))
  let records = 0
  const counted: typeof store = Object.assign(Object.create(store), {
    readStream: store.readStream.bind(store),
    subscribeAll: async function* (options: Parameters<typeof store.subscribeAll>[0]) {
      for await (const item of store.subscribeAll(options)) {
        if (item.type === 'events') records += item.events.length
        yield item
      }
    },
  })
  const start = performance.now()
  const projector = new Projector({ store: counted, readModel, log })
  await projector.caughtUpOnce()
  const seconds = (performance.now() - start) / 1000
  await projector.stop()
  readModel.close()
  await store.close()
  return { records, perSecond: records / seconds }
}

async function follow(connectionString: string, records: number): Promise<number> {
  const client = EventStoreDBClient.connectionString(connectionString)
  const start = performance.now()
  const subscription = client.subscribeToAll({ filter: streamNameFilter({ prefixes: ['run-'] }) })
  let seen = 0
  for await (const { event } of subscription) {
    if (event !== undefined) seen += 1
    if (seen === records) break
  }
  const seconds = (performance.now() - start) / 1000
  await subscription.unsubscribe()
  await client.dispose()
  return records / seconds
}
