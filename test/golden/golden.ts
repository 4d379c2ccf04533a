import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import * as z from 'zod'

/** One line of a golden log: an event as a server has stored it. In the log, `data` and `metadata` are text. */
const GoldenEvent = z.strictObject({
  revision: z.int(),
  id: z.uuid(),
  type: z.string(),
  data: z.record(z.string(), z.unknown()),
  metadata: z.record(z.string(), z.unknown()),
})
export type GoldenEvent = z.infer<typeof GoldenEvent>

/** What a golden log means, now and in every later version. */
const Meaning = z.strictObject({ state: z.looseObject({}), details: z.looseObject({}) })
export type Meaning = z.infer<typeof Meaning>

export const LOGS = new URL('./logs/', import.meta.url)

export type Golden = {
  readonly name: string
  readonly runId: string
  readonly events: readonly GoldenEvent[]
  readonly meaning: Meaning
}

const read = (name: string): string => readFileSync(new URL(name, LOGS), 'utf8')

/** All logs that any version has written and that were kept. */
export function goldenLogs(): Golden[] {
  const names = readdirSync(fileURLToPath(LOGS)).filter((name) => name.endsWith('.ndjson'))
  return names.map((file) => {
    const name = file.replace(/\.ndjson$/, '')
    const lines = read(file).trimEnd().split('\n')
    const events = lines.map((line) => GoldenEvent.parse(JSON.parse(line)))
    const meaning = Meaning.parse(JSON.parse(read(`${name}.json`)))
    return { name, runId: String(events[0]?.data.run_id), events, meaning }
  })
}
