/**
 * Keeps the log of a run, and what it means, as a golden log: `node test/golden/write.ts DATA_DIR RUN_ID NAME`. The data
 * folder is one that no server uses. A log that is there is never written again, because it represents the version that
 * wrote it.
 */
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { fold } from '../../src/domain/evolve.ts'
import { RunRecord } from '../../src/domain/records.ts'
import { runDetails } from '../../src/queries/run-details.ts'
import { eventsInFile } from '../chaos/evidence.ts'
import { type GoldenEvent, LOGS, type Meaning } from './golden.ts'

const [dataDir = '', runId = '', name = ''] = process.argv.slice(2)
const log = new URL(`${name}.ndjson`, LOGS)
if (existsSync(log)) throw new Error(`${log.pathname} is there, and stays as it is`)
const events = eventsInFile(dataDir, runId).map((event): GoldenEvent => {
  const data = JSON.parse(event.data)
  // A log is kept as it was written, to the letter.
  if (JSON.stringify(data) !== event.data) throw new Error(`${event.data} does not survive parsing`)
  return { ...event, data, metadata: JSON.parse(event.metadata) }
})
const state = fold(events.map(({ data }) => RunRecord.parse(data)))
if (state === null) throw new Error(`there is no run ${runId} in ${dataDir}`)
const { watch, ...rest } = state
// How turns are compared may change.
const kept = { ...rest, watch: { found: watch.found, over: watch.over } }
const meaning: Meaning = { state: kept, details: runDetails(state) }
await writeFile(log, events.map((event) => `${JSON.stringify(event)}\n`).join(''))
await writeFile(new URL(`${name}.json`, LOGS), `${JSON.stringify(meaning, null, 2)}\n`)
console.log(`${name}: ${events.map(({ type }) => type).join(' ')}`)
