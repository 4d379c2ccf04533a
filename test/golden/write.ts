/**
 * Writes the golden logs that are not there yet, and what they mean: `node test/golden/write.ts`. A log
 * that is there is never written again, because it represents the version that wrote it.
 */

import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { fold } from '../../src/domain/evolve.ts'
import type { RunConfig } from '../../src/domain/run-config.ts'
import { decode } from '../../src/log/codec.ts'
import { handleCommand } from '../../src/log/handle-command.ts'
import { streamOf } from '../../src/log/run-log.ts'
import { runDetails } from '../../src/queries/run-details.ts'
import type { RecordedEvent } from '../../src/store/event-store.ts'
import { Workshop } from '../agent/support.ts'
import { type GoldenEvent, LOGS, type Meaning } from './golden.ts'
import { SCENARIOS, type Scenario } from './scenarios.ts'

const CONFIG: RunConfig = {
  goal: 'shell-goal',
  // There is no project: the folder is one that every machine has, and no call looks at it.
  cwd: '/',
  model_name: 'scripted',
  max_iterations: 5,
  hitl_enabled: false,
  max_cost_usd: null,
  max_tokens: null,
  max_seconds: null,
  shell_goal: { check_command: 'true', success_condition: { exit_code: 0 } },
}

async function play({
  script,
  config,
  pool = null,
  instructions,
  tell,
}: Scenario): Promise<readonly RecordedEvent[]> {
  await using shop = await Workshop.open(script)
  const runId = randomUUID()
  const create = { type: 'create', runId, systemPrompt: 'Mend it.' } as const
  const idempotency = { key: `golden-${runId}`, request_sha256: 'ab'.repeat(32) }
  const author = { commandId: randomUUID(), principal: 'ada' }
  const created = await handleCommand(
    shop.store,
    runId,
    {
      ...create,
      config: { ...CONFIG, ...config },
      idempotency,
      pool,
      instructions: instructions ?? null,
    },
    { author, now: () => Date.now() / 1000 },
  )
  created._unsafeUnwrap()
  await tell(shop, runId)
  const page = { from: 'start', direction: 'forward', limit: 1000 } as const
  return (await shop.store.readStream(streamOf(runId), page))._unsafeUnwrap()
}

function lineOf({ revision, id, type, data, metadata }: RecordedEvent): string {
  const event: GoldenEvent = {
    revision,
    id,
    type,
    data: JSON.parse(data),
    metadata: JSON.parse(metadata),
  }
  // A log is kept as it was written, to the letter.
  if (JSON.stringify(event.data) !== data) throw new Error(`${data} does not survive parsing`)
  return JSON.stringify(event)
}

function meaningOf(events: readonly RecordedEvent[]): Meaning {
  const records = events.map((event) => decode(event)._unsafeUnwrap().record)
  const state = fold(records)
  if (state === null) throw new Error('a log holds a run')
  const { watch, ...rest } = state
  // How turns are compared may change.
  return {
    state: { ...rest, watch: { found: watch.found, over: watch.over } },
    details: runDetails(state),
  }
}

await mkdir(LOGS, { recursive: true })
for (const [name, scenario] of Object.entries(SCENARIOS)) {
  const log = new URL(`${name}.ndjson`, LOGS)
  if (existsSync(log)) continue
  const events = await play(scenario)
  await writeFile(log, `${events.map(lineOf).join('\n')}\n`)
  await writeFile(new URL(`${name}.json`, LOGS), `${JSON.stringify(meaningOf(events), null, 2)}\n`)
  console.log(`${name}: ${events.map(({ type }) => type).join(' ')}`)
}
