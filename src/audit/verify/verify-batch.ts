import { otherwiseIsolated } from '../../domain/isolation.ts'
import { runIdOf } from '../../log/run-log.ts'
import type { RecordedEvent } from '../../store/event-store.ts'
import { type LineBytes, type LineFormat, linesIn, readLine } from '../bundle/record-lines.ts'
import { concernsFamily } from './family-check.ts'
import {
  artifactOf,
  type BadRecord,
  type CheckedRecord,
  checkedAlone,
  type SeenRecord,
  storedRecord,
  type VerifiedRun,
  verifyNext,
} from './verify-run.ts'

/** Records of runs, each run in order: as lines of an export, or as events of a store. */
export type Batch =
  | { readonly runId: string; readonly lines: LineBytes; readonly format: LineFormat }
  | { readonly events: readonly RecordedEvent[] }

/** A record of a batch, checked by itself. */
type Prepared = {
  readonly runId: string
  /** When the store took it, in milliseconds since the epoch. */
  readonly created: number
  /** A sentence, if a line does not hold a record. */
  readonly checked: CheckedRecord | string
}

/** A run before a batch: as far as it is verified, and which of its records the caller wants to see. */
export type KnownRun = { readonly run: VerifiedRun | null; readonly wanted: readonly number[] }

/** The runs that a batch may continue. Records of other runs are passed over, because these do not hold already. */
export type KnownRuns = ReadonlyMap<string, KnownRun>

/** How many results were not isolated as the first record of their run says: checks with a home of their own, and others. */
export type Isolated = { readonly check: number; readonly other: number }

/** What was found in a batch. `at` is the place of a record in it. */
export type Verified = {
  /** How many records hold. */
  readonly held: number
  /** The runs of records that hold, up to the last of these. */
  readonly runs: ReadonlyMap<string, VerifiedRun>
  /** Records that hold and are wanted, name other runs, or are redacted. */
  readonly seen: readonly (SeenRecord & { readonly at: number })[]
  /** The first record of a run that does not hold. */
  readonly bad: readonly {
    readonly at: number
    readonly runId: string
    readonly record: BadRecord
  }[]
  /** Each artifact that records name, with the first record that does. */
  readonly artifacts: ReadonlyMap<string, { readonly runId: string; readonly seq: number }>
  readonly isolated: Isolated
}

/** The first step, which is most of the work and needs no other batch. */
export function prepare(batch: Batch): readonly Prepared[] {
  if ('events' in batch) {
    return batch.events.map((event) => {
      const { stream, created } = event
      return { runId: runIdOf(stream), created, checked: checkedAlone(storedRecord(event)) }
    })
  }
  const { runId, lines, format } = batch
  return linesIn(lines).map((text) => {
    const line = readLine(text, format)
    if (typeof line === 'string') return { runId, created: 0, checked: line }
    return { runId, created: line.created, checked: checkedAlone(line) }
  })
}

/** The second step: whether the records continue their runs. */
export function follow(prepared: readonly Prepared[], known: KnownRuns): Verified {
  const runs = new Map<string, VerifiedRun>()
  const seen: (SeenRecord & { readonly at: number })[] = []
  const bad = new Map<string, Verified['bad'][number]>()
  const artifacts = new Map<string, { readonly runId: string; readonly seq: number }>()
  let held = 0
  const isolated = { check: 0, other: 0 }
  for (const [at, { runId, created, checked }] of prepared.entries()) {
    const before = known.get(runId)
    if (before === undefined || bad.has(runId)) continue
    const last = runs.get(runId) ?? before.run
    if (typeof checked === 'string') {
      const seq = last === null ? 0 : last.state.seq + 1
      bad.set(runId, { at, runId, record: { problem: 'changed', seq, message: checked } })
      continue
    }
    const verified = verifyNext(runId, last, checked)
    if (verified.isErr()) {
      bad.set(runId, { at, runId, record: verified.error })
      continue
    }
    const { run, logged } = verified.value
    const { seq } = logged
    held += 1
    runs.set(runId, run)
    const artifact = artifactOf(logged)
    if (artifact !== null && !artifacts.has(artifact)) artifacts.set(artifact, { runId, seq })
    const { kind, payload } = logged.record
    if ((kind === 'tool_result' || kind === 'goal_check') && payload.isolation !== undefined) {
      isolated[otherwiseIsolated(kind, payload.isolation, run.state.isolation)] += 1
    }
    if (before.wanted.includes(seq) || concernsFamily(logged) || 'redacted' in logged.meta) {
      seen.push({ at, logged, run, created })
    }
  }
  return { held, runs, seen, bad: [...bad.values()], artifacts, isolated }
}

/** The runs after a batch. */
export function advanced(known: KnownRuns, { runs, bad }: Verified): KnownRuns {
  const after = new Map(known)
  for (const [runId, run] of runs) after.set(runId, { wanted: [], ...known.get(runId), run })
  for (const { runId } of bad) after.delete(runId)
  return after
}
