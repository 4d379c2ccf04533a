import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { RunConfig } from '../../../src/domain/run-config.ts'
import type { LoadedRun } from '../../../src/log/run-log.ts'
import { openEmbeddedStore } from '../../../src/store/embedded/embedded-store.ts'
import type { EventStore } from '../../../src/store/event-store.ts'
import { append, prepare } from '../../support/append-records.ts'
import { EXAMPLE_CONFIG } from '../../support/run-records.ts'
import type { SampleRun } from './sample-run.ts'

const CHUNK = 400

/** Writes runs into the log of a server that is not started yet, side by side, so that they share commits. */
export async function seed(dataDir: string, samples: readonly SampleRun[]): Promise<void> {
  await mkdir(dataDir, { recursive: true })
  const store = (await openEmbeddedStore({ file: join(dataDir, 'log.sqlite') }))._unsafeUnwrap()
  await Promise.all(samples.map((sample) => write(store, sample)))
  await store.close()
}

async function write(store: EventStore, { records, principals }: SampleRun): Promise<void> {
  const runId = records[0]?.run_id ?? ''
  let run: LoadedRun | null = null
  for (let from = 0; from < records.length; ) {
    const principal = principals[from] ?? null
    const other = principals.findIndex((who, seq) => seq > from && who !== principal)
    const end = Math.min(other < 0 ? records.length : other, from + CHUNK)
    const who = principal === null ? {} : { principal }
    const author = { commandId: `seed-${from}`, ...who }
    const prepared = prepare(runId, run, records.slice(from, end), author)
    run = (await append(store, prepared))._unsafeUnwrap()
    from = end
  }
}

export const configOf = (changes: Partial<RunConfig> = {}): RunConfig => ({
  ...EXAMPLE_CONFIG,
  cwd: '/home/ada/billing',
  ...changes,
})
