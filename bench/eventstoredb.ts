import { streamOf } from '../src/log/run-log.ts'
import { appendsBench } from './eventstoredb/appends.ts'
import { startWatched } from './eventstoredb/joiner.ts'
import { readModelBench } from './eventstoredb/read-model.ts'
import { readsBench } from './eventstoredb/reads.ts'
import { openBare, openOurs } from './eventstoredb/side.ts'
import type { StoreOperations } from './eventstoredb/store-process.ts'
import { startPeer } from './support/calls.ts'
import { integer } from './support/figures.ts'
import { inTemporaryFolder } from './support/temporary-folder.ts'

/** Records of the run that is read. */
const RECORDS = 100_000
const STORE = new URL('./eventstoredb/store-process.ts', import.meta.url)

/** Our store on an EventStoreDB, beside the bare client: at EVENTSTORE_URL, or else on the stand-in. */
export async function run(): Promise<string> {
  const { EVENTSTORE_URL: url } = process.env
  if (url !== undefined && url !== '') return report('a real EventStoreDB', url)
  await using store = await startPeer<StoreOperations>(STORE)
  return await report('the stand-in', await store.ask('connectionString'))
}

async function report(name: string, connectionString: string): Promise<string> {
  const ours = await openOurs(connectionString)
  const batched = openBare(connectionString, true)
  const single = openBare(connectionString, false)
  try {
    const appends = await appendsBench({ ours, batched, single })
    const [reads, readModel] = await inTemporaryFolder(async (folder) => {
      await using watched = await startWatched(folder, connectionString)
      const runId = await watched.server.ask('fill', { records: RECORDS, ended: true })
      await watched.server.ask('projected', { runId, seq: RECORDS - 1 })
      const join = () => watched.join(runId, RECORDS)
      return [
        await readsBench({ ours, bare: batched }, streamOf(runId), RECORDS, join),
        await readModelBench(connectionString, folder),
      ]
    })
    return [
      `### EventStoreDB (${name}), beside the bare client in the same run`,
      '',
      appends,
      '',
      `A run of ${integer(RECORDS)} records:`,
      '',
      reads,
      '',
      'All runs of the log:',
      '',
      readModel,
      '',
      'The bare client is @eventstore/db-client. The stand-in runs in a process of its own and keeps everything in memory, so the figures',
      'compare what the two sides cost. The observer and its server run in two more processes.',
    ].join('\n')
  } finally {
    for (const side of [ours, batched, single]) await side.close()
  }
}

if (import.meta.main) console.log(await run())
