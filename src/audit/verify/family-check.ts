import { mayBeSame } from '../../domain/free-text.ts'
import type { PayloadOf } from '../../domain/records.ts'
import { subagentCalls } from '../../domain/subagent-state.ts'
import type { Parent } from '../../domain/subagents.ts'
import type { LoggedRecord } from '../../log/codec.ts'
import type { LoadedRun } from '../../log/run-log.ts'
import { type EndClaim, type Judgement, judgeEnd } from './family-ends.ts'
import type { FamilyReport, Finding, NotCompared } from './report.ts'
import type { SeenRecord } from './verify-run.ts'

type Place = { readonly runId: string; readonly seq: number }
/** A record that names another run. `created` is when the store took it, in milliseconds since the epoch. */
type Claim = Place & { readonly created: number }
type Start = Claim & {
  readonly hash: string
  readonly payload: PayloadOf<'subagent_started'>
  /** What the model asked for, as the call holds it. */
  readonly instructions: unknown
}
type Child = Claim & {
  readonly parent: Parent
  readonly payload: PayloadOf<'run_created'>
}

/**
 * Compares what runs and the runs of their sub-agents say about each other, in both directions: `subagent_started` with
 * the first record of the run that it names, and the end in a `tool_result` with the log of that run. Gets the records
 * that hold, each run in order, and the runs in any order.
 */
export class FamilyCheck {
  /** Whether a run that is not here is missing. An imported run may be without the others. */
  readonly #isWhole: boolean
  /** The runs that were seen, each with its state if another run names it or may do so. */
  readonly #runs = new Map<string, LoadedRun | null>()
  /** The seq of the first record that does not hold. */
  readonly #bad = new Map<string, number>()
  readonly #children = new Map<string, Child>()
  readonly #starts = new Map<string, Start>()
  readonly #ends: (EndClaim & Claim)[] = []

  /** @param isWhole whether all runs of a store are seen */
  constructor(isWhole: boolean) {
    this.#isWhole = isWhole
  }

  /** Notes a record that holds and for which `concernsFamily` is true. */
  see({ logged: { seq, record, meta }, run, created }: SeenRecord): void {
    const { run_id: runId } = record
    const claim = { runId, seq, created }
    if (record.kind === 'run_created' && record.payload.parent !== undefined) {
      const { payload } = record
      this.#children.set(runId, { ...claim, parent: record.payload.parent, payload })
    }
    if (record.kind === 'subagent_started') {
      const { payload } = record
      // Those beside the open call are started before their calls begin.
      const call = subagentCalls(run.state).find(({ call_id }) => call_id === payload.call_id)
      const asked = call?.args.instructions
      // As the tool reads it.
      const instructions = typeof asked === 'string' ? asked.trim() : asked
      this.#starts.set(keyOf(claim), { ...claim, hash: meta.hash, payload, instructions })
      this.#runs.set(runId, run)
    }
    if (record.kind !== 'tool_result' || record.payload.subagent === undefined) return
    const { subagent: end } = record.payload
    const child = this.#runs.get(end.run_id) ?? null
    this.#ends.push({ ...claim, end, at: child?.state.seq === end.seq ? child : null })
  }

  /** Notes a run after some records, as far as it holds. */
  reach(run: LoadedRun): void {
    const { runId, parent } = run.state
    const isNamed = this.#runs.get(runId) ?? parent !== undefined
    this.#runs.set(runId, isNamed ? run : null)
  }

  /** Notes that a run does not hold from this record on. */
  seeBad(runId: string, seq: number): void {
    this.#bad.set(runId, seq)
  }

  /** Runs that others name and that were not seen. */
  unseen(): readonly string[] {
    const named = [
      ...[...this.#children.values()].map(({ parent }) => parent.run_id),
      ...[...this.#starts.values()].map(({ payload }) => payload.run_id),
    ]
    return [...new Set(named)].filter((runId) => !this.#runs.has(runId) && !this.#bad.has(runId))
  }

  /**
   * Runs that must be read once more, up to a record: another run names them there, and they have continued since, or had
   * not come so far when they were read.
   */
  wanted(): readonly Place[] {
    return this.#ends.flatMap(({ end: { run_id: runId, seq }, at }) => {
      const run = this.#runs.get(runId)
      const isKnown = at !== null || run === null || run?.state.seq === seq || this.#bad.has(runId)
      return isKnown ? [] : [{ runId, seq }]
    })
  }

  /** Notes a run that was wanted, as far as it could be read. */
  note(run: LoadedRun): void {
    const { runId, seq } = run.state
    for (const [index, claim] of this.#ends.entries()) {
      const { run_id, seq: named } = claim.end
      if (run_id === runId && named === seq) this.#ends[index] = { ...claim, at: run }
    }
  }

  /** @param placeOf the name of the place that holds a record, for people */
  judge(placeOf: (place: Place) => string = ({ runId }) => `run ${runId}`): {
    readonly findings: readonly Finding[]
    readonly report: FamilyReport
  } {
    const findings: Finding[] = []
    const skipped: NotCompared[] = []
    const unsure = new Set<string>()
    const take = (place: Place, about: string, judgement: Judgement | null): void => {
      if (judgement === null) return
      const { runId, seq } = place
      unsure.add(about)
      if ('skipped' in judgement) {
        skipped.push({ run_id: runId, seq, why: judgement.skipped })
        return
      }
      const isMissing = 'missing' in judgement
      const [problem, message] = isMissing
        ? (['missing', judgement.missing] as const)
        : (['family', judgement.wrong] as const)
      findings.push({ problem, where: placeOf(place), seq, message })
    }
    for (const child of this.#children.values()) take(child, child.runId, this.#judgeChild(child))
    for (const start of this.#starts.values()) {
      take(start, start.payload.run_id, this.#judgeStart(start))
    }
    for (const claim of this.#ends) take(claim, claim.end.run_id, this.#judgeEnd(claim))
    const compared = [...this.#children.keys()].filter((runId) => !unsure.has(runId)).length
    return { findings, report: { compared, not_compared: skipped } }
  }

  /** The first record of a sub-agent, with the record of its parent that it names. */
  #judgeChild(child: Child): Judgement | null {
    const { run_id: runId, seq, hash, call_id, depth } = child.parent
    const absent = this.#absence(
      child,
      { runId, seq },
      `whose agent started it by its record ${seq}`,
    )
    if (absent !== null) return absent
    const start = this.#starts.get(keyOf({ runId, seq }))
    const source = `record ${seq} of run ${runId}`
    if (start === undefined)
      return { wrong: `it names ${source} as its start, which starts no run` }
    const { payload } = start
    if (payload.run_id !== child.runId) {
      return { wrong: `it names ${source} as its start, which starts run ${payload.run_id}` }
    }
    if (hash !== start.hash) {
      return { wrong: `it names the hash ${hash} of ${source}, which has ${start.hash}` }
    }
    if (call_id !== payload.call_id) {
      return { wrong: `it names the call ${call_id}, and ${source} the call ${payload.call_id}` }
    }
    const above = this.#runs.get(runId)?.state.parent?.depth ?? 0
    if (depth !== above + 1) {
      return { wrong: `it is at depth ${depth}, and run ${runId} at depth ${above}` }
    }
    if (!mayBeSame(child.payload.config, payload.config)) {
      return { wrong: `its configuration is not the one in ${source}` }
    }
    if (!mayBeSame(child.payload.instructions, start.instructions)) {
      return { wrong: `its instructions are not those of the call ${call_id} of run ${runId}` }
    }
    return null
  }

  /** The record that starts a sub-agent, with the first record of that. */
  #judgeStart(start: Start): Judgement | null {
    const { run_id: runId } = start.payload
    if (this.#runs.has(runId)) {
      const parent = this.#children.get(runId)?.parent
      const isNamed = parent?.run_id === start.runId && parent.seq === start.seq
      return isNamed
        ? null
        : { wrong: `it starts run ${runId}, which does not name it as its start` }
    }
    if (this.#bad.has(runId)) return { skipped: `run ${runId}, which it starts, does not hold` }
    // A run that has ended is judged by its end. One that has none may not have been created.
    if (this.#ends.some(({ end }) => end.run_id === runId)) return null
    return { skipped: `it starts run ${runId}, which is not here: perhaps it was never created` }
  }

  /** The end of a sub-agent as its parent has recorded it, with the log of the sub-agent. */
  #judgeEnd(claim: EndClaim & Claim): Judgement | null {
    const { run_id: runId, seq } = claim.end
    const absent = this.#absence(claim, { runId, seq }, `its sub-agent, up to record ${seq}`)
    if (absent !== null) return absent
    const run = this.#runs.get(runId)
    // If the run names no parent, its start reports that.
    return run == null ? null : judgeEnd(claim, run, (id) => this.#runs.get(id)?.state ?? null)
  }

  /** Why the record of the other run cannot be compared; null if it can. */
  #absence({ runId, created }: Claim, other: Place, what: string): Judgement | null {
    const bad = this.#bad.get(other.runId)
    if (bad !== undefined && bad <= other.seq) {
      return { skipped: `run ${other.runId} holds only up to its record ${bad}` }
    }
    if (this.#runs.has(other.runId)) return null
    const missing = `run ${other.runId}, ${what}, is not here`
    if (!this.#isWhole) return { skipped: missing }
    return this.#isImported(runId, created)
      ? { skipped: `${missing}: this run was imported, or copied` }
      : { missing: `${missing}: it was dropped` }
  }

  /** A run that was stored after it had ended was stored by another server first. */
  #isImported(runId: string, created: number): boolean {
    const endedAt = this.#runs.get(runId)?.state.endedAt ?? null
    return endedAt !== null && created >= endedAt * 1000
  }
}

/** Whether a record names another run. */
export const concernsFamily = ({ record: { kind, payload } }: LoggedRecord): boolean =>
  kind === 'subagent_started' ||
  (kind === 'run_created' && payload.parent !== undefined) ||
  (kind === 'tool_result' && payload.subagent !== undefined)

const keyOf = ({ runId, seq }: Place): string => `${runId}/${seq}`
