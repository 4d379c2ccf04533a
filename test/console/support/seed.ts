import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { RunConfig } from '../../../src/domain/run-config.ts'
import type { LoadedRun } from '../../../src/log/run-log.ts'
import { openEmbeddedStore } from '../../../src/store/embedded/embedded-store.ts'
import { append, prepare } from '../../support/append-records.ts'
import type { SampleRun } from './sample-run.ts'

const CHUNK = 400

/** Writes runs into the log of a server that is not started yet. */
export async function seed(dataDir: string, samples: readonly SampleRun[]): Promise<void> {
  await mkdir(dataDir, { recursive: true })
  const store = (await openEmbeddedStore({ file: join(dataDir, 'log.sqlite') }))._unsafeUnwrap()
  for (const { records, principals } of samples) {
    const runId = records[0]?.run_id ?? ''
    let run: LoadedRun | null = null
    for (let from = 0; from < records.length; ) {
      const principal = principals[from] ?? null
      const other = principals.findIndex((who, seq) => seq > from && who !== principal)
      const end = Math.min(other < 0 ? records.length : other, from + CHUNK)
      const author = {
        commandId: `seed-${from}`,
        ...(principal === null ? {} : { principal }),
      }
      const prepared = prepare(runId, run, records.slice(from, end), author)
      run = (await append(store, prepared))._unsafeUnwrap()
      from = end
    }
  }
  await store.close()
}

export const configOf = (changes: Partial<RunConfig> = {}): RunConfig => ({
  goal: 'pytest',
  cwd: '/home/ada/billing',
  model_name: 'claude-sonnet-4-6',
  max_iterations: 20,
  hitl_enabled: false,
  max_cost_usd: null,
  max_tokens: null,
  max_seconds: null,
  shell_goal: null,
  ...changes,
})
