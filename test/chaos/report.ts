import type { Kind, RunRecord } from '../../src/domain/records.ts'
import type { ChaosOptions } from './chaos-run.ts'
import type { Evidence } from './evidence.ts'
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

export type Report = Facts &
  Findings & {
    readonly ends: Readonly<Record<string, number>>
    readonly records: Readonly<Partial<Record<Kind, number>>>
    readonly toolOutcomes: Readonly<Record<string, number>>
    readonly sideEffects: number
    readonly connections: number
    readonly frames: number
  }

export function summed(
  findings: Findings,
  { evidence, violations }: Inspected,
  facts: Facts,
): Report {
  const records = evidence.flatMap(({ events }) =>
    events.map(({ data }): RunRecord => JSON.parse(data)),
  )
  const sum = (count: (one: Evidence) => number) =>
    evidence.reduce((total, one) => total + count(one), 0)
  return {
    ...facts,
    ...findings,
    violations: [...findings.violations, ...violations],
    ends: tally(records.map((r) => (r.kind === 'run_end' ? r.payload.status : null))),
    records: tally(records.map(({ kind }) => kind)),
    toolOutcomes: tally(records.map((r) => (r.kind === 'tool_result' ? r.payload.outcome : null))),
    sideEffects: sum(({ ledger }) => ledger.length),
    connections: sum(({ observations }) => observations.length),
    frames: sum(({ observations }) =>
      observations.reduce((total, { frames }) => total + frames.length, 0),
    ),
  }
}

function tally<K extends string>(
  names: readonly (K | null)[],
): Partial<Record<K, number>> & object {
  const counts: Partial<Record<K, number>> = {}
  for (const name of names) if (name !== null) counts[name] = (counts[name] ?? 0) + 1
  return counts
}

const list = (counts: Readonly<Record<string, number | undefined>>): string =>
  Object.entries(counts)
    .sort(([, a = 0], [, b = 0]) => b - a)
    .map(([name, count]) => `${name.replaceAll('_', ' ')} ${count}`)
    .join(', ')

/** The report for people: the faults, the runs, and the violations. */
export function reportText(report: Report): string {
  const { records } = report
  const total = Object.values(records).reduce((sum, count) => sum + count, 0)
  const runs = Object.values(report.ends).reduce((sum, count) => sum + count, 0)
  const lines = [
    `chaos over the ${report.store} store: seed ${report.seed}, ${report.runs} runs at once, ${report.faultSeconds.toFixed(0)} s of faults`,
    `  faults: ${list(report.faults)}`,
    `  ${report.starts} servers started, ${report.kills} of them killed, ${report.cutShort} did not stop in time`,
    `  ${runs} runs ended: ${list(report.ends)}; claimed ${records.run_claimed ?? 0} times`,
    `  ${total} records: ${list(records)}`,
    `  ${report.modelRequests} requests to the model, ${records.assistant_message ?? 0} replies and ${records.llm_retry ?? 0} failures recorded`,
    `  results of tools: ${list(report.toolOutcomes)}; ${report.sideEffects} side effects on disk`,
    `  ${report.connections} connections of observers saw ${report.frames} frames`,
    report.violations.length === 0
      ? '  no invariant is violated'
      : `  ${report.violations.length} VIOLATIONS, the data is in ${report.folder}`,
    ...report.violations.map((violation) => `  - ${violation}`),
  ]
  return lines.join('\n')
}
