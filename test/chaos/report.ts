import type { RunRecord } from '../../src/domain/records.ts'
import type { ChaosOptions } from './chaos-run.ts'
import type { FaultName } from './faults.ts'
import type { Inspected } from './inspection.ts'

/** What is counted during a chaos run. */
export type Findings = {
  kills: number
  /** Servers that were asked to stop, and did not stop in time. */
  cutShort: number
  readonly faults: Partial<Record<FaultName, number>>
  readonly violations: string[]
}

type Facts = ChaosOptions & {
  readonly faultSeconds: number
  readonly modelRequests: number
  /** Servers that were started. */
  readonly starts: number
  readonly folder: string
}

export type Report = {
  readonly violations: readonly string[]
  /** The faults, the runs and the violations, for people. */
  readonly text: string
}

export function summed(
  findings: Findings,
  { evidence, violations }: Inspected,
  facts: Facts,
): Report {
  const { store, seed, runs, faultSeconds, starts, modelRequests, folder } = facts
  const { kills, cutShort, faults } = findings
  const records = evidence.flatMap(({ events }) =>
    events.map(({ data }): RunRecord => JSON.parse(data)),
  )
  const ends = records.flatMap((r) => (r.kind === 'run_end' ? [r.payload.status] : []))
  const outcomes = records.flatMap((r) => (r.kind === 'tool_result' ? [r.payload.outcome] : []))
  const effects = evidence.flatMap(({ ledger }) => ledger)
  const observations = evidence.flatMap((one) => one.observations)
  const frames = observations.flatMap((observation) => observation.frames)
  const all = [...findings.violations, ...violations]
  const lines = [
    `chaos over the ${store} store: seed ${seed}, ${runs} runs at once, ${faultSeconds.toFixed(0)} s of faults`,
    `  faults: ${list(faults)}`,
    `  ${starts} servers started, ${kills} of them killed, ${cutShort} did not stop in time`,
    `  ${ends.length} runs ended: ${list(tally(ends))}`,
    `  ${records.length} records: ${list(tally(records.map(({ kind }) => kind)))}`,
    `  ${modelRequests} requests to the model`,
    `  results of tools: ${list(tally(outcomes))}; ${effects.length} side effects on disk`,
    `  ${observations.length} connections of observers saw ${frames.length} frames`,
    all.length === 0
      ? '  no invariant is violated'
      : `  ${all.length} VIOLATIONS, the data is in ${folder}`,
    ...all.map((violation) => `  - ${violation}`),
  ]
  return { violations: all, text: lines.join('\n') }
}

type Counts = Readonly<Record<string, number | undefined>>

const tally = (names: readonly string[]): Counts =>
  Object.fromEntries(
    Object.entries(Object.groupBy(names, (name) => name)).map(([name, all]) => [name, all?.length]),
  )

const list = (counts: Counts): string =>
  Object.entries(counts)
    .sort(([, a = 0], [, b = 0]) => b - a)
    .map(([name, count]) => `${name.replaceAll('_', ' ')} ${count}`)
    .join(', ')
