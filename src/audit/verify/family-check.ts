import type { Parent, SubagentEnd } from '../../domain/subagents.ts'
import { mayBeSame } from '../../domain/texts.ts'
import { type Claim, type Judgement, OriginCheck, type RecordPlace, wrong } from './origin-check.ts'
import type { PayloadOf } from './read-record.ts'
import type { FamilyReport, Finding, NotCompared } from './report.ts'
import {
  openSubagent,
  openSubagents,
  plus,
  subagentCalls,
  type Used,
  type VerifiedRun,
} from './verified-run.ts'
import type { VerifiedRecord } from './verify-run.ts'

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
type End = Claim & { readonly end: SubagentEnd }

/** A sub-agent as of one of its records. */
type State = Pick<VerifiedRun, 'head' | 'used' | 'waitedSeconds'> & {
  readonly status: string
  /** The sub-agent of its own that it waits for. */
  readonly waitsFor: string | null
}

const notCompared = (message: string): Judgement => ({ problem: null, message })

/**
 * Compares what runs and the runs of their sub-agents say about each other, in both directions: `subagent_started` with
 * the first record of the run that it names, and the end in a `tool_result` with the log of that run. Also compares runs
 * with the records from which they begin. Gets the records that hold, each run in order, and the runs in any order.
 */
export class FamilyCheck {
  /** Whether a run that is not here is missing. An imported run may be without the others. */
  readonly #isWhole: boolean
  readonly #isRemoved: (runId: string) => boolean
  /** The runs that were seen, each with its state if another run may name it or is named by it. */
  readonly #runs = new Map<string, VerifiedRun | null>()
  /** Sub-agents as of each of their records. */
  readonly #states = new Map<string, State[]>()
  /** The seq of the first record that does not hold. */
  readonly #bad = new Map<string, number>()
  readonly #children = new Map<string, Child>()
  readonly #starts = new Map<string, Start>()
  readonly #ends: End[] = []
  readonly #origins = new OriginCheck()

  /**
   * @param isWhole whether all runs of a store are seen
   * @param isRemoved whether a ledger says that a run was removed
   */
  constructor(isWhole: boolean, isRemoved: (runId: string) => boolean = () => false) {
    this.#isWhole = isWhole
    this.#isRemoved = isRemoved
  }

  /** Notes a record that holds. @param created when the store took it, in milliseconds since the epoch */
  see(verified: VerifiedRecord, created: number): void {
    const { seq, record, meta, run } = verified
    const { run_id: runId } = record
    const claim = { runId, seq, created }
    const { parent, subagents } = run
    this.#origins.see(verified, claim)
    const isAlone = parent === null && subagents.length === 0 && !this.#origins.has(runId)
    this.#runs.set(runId, isAlone ? null : run)
    if (parent !== null) {
      if (record.kind === 'run_created') {
        this.#states.set(runId, [])
        this.#children.set(runId, { ...claim, parent, payload: record.payload })
      }
      this.#states.get(runId)?.push(stateOf(run))
    }
    if (record.kind === 'subagent_started') {
      const { payload } = record
      // Those beside the open call are started before their calls begin.
      const call = subagentCalls(run).find(({ call_id }) => call_id === payload.call_id)
      const asked = call?.args.instructions
      // As the tool reads it.
      const instructions = typeof asked === 'string' ? asked.trim() : asked
      this.#starts.set(keyOf(claim), { ...claim, hash: meta.hash, payload, instructions })
    }
    const { subagent: end } = record.kind === 'tool_result' ? record.payload : {}
    if (end !== undefined) this.#ends.push({ ...claim, end })
  }

  /** Notes that a run does not hold from this record on. */
  noteBad(runId: string, seq: number): void {
    this.#bad.set(runId, seq)
  }

  /** Runs that were started by others and that were not seen. */
  unseen(): readonly string[] {
    const started = [...this.#starts.values()].map(({ payload }) => payload.run_id)
    return started.filter((runId) => !this.#runs.has(runId) && !this.#bad.has(runId))
  }

  /** @param placeOf the name of the place that holds a record, for people */
  judge(placeOf: (place: RecordPlace) => string = ({ runId }) => `run ${runId}`): {
    readonly findings: readonly Finding[]
    readonly report: FamilyReport
  } {
    const findings: Finding[] = []
    const skipped: NotCompared[] = []
    const unsure = new Set<string>()
    const take = ({ runId, seq }: RecordPlace, about: string, judgement: Judgement): void => {
      if (judgement === null) return
      const { problem, message } = judgement
      unsure.add(about)
      if (problem === null) skipped.push({ run_id: runId, seq, why: message })
      else findings.push({ problem, where: placeOf({ runId, seq }), seq, message })
    }
    for (const child of this.#children.values()) take(child, child.runId, this.#judgeChild(child))
    for (const start of this.#starts.values()) {
      take(start, start.payload.run_id, this.#judgeStart(start))
    }
    for (const end of this.#ends) take(end, end.end.run_id, this.#judgeEnd(end))
    const compared = [...this.#children.keys()].filter((runId) => !unsure.has(runId)).length
    const origins = this.#origins.judge((...asked) => this.#absence(...asked), take)
    return { findings, report: { compared, not_compared: skipped, ...origins } }
  }

  /** The first record of a sub-agent, with the record of its parent that it names. */
  #judgeChild(child: Child): Judgement {
    const { run_id: runId, seq, hash, call_id, depth } = child.parent
    const what = `whose agent started it by its record ${seq}`
    const absent = this.#absence(child, { runId, seq }, what)
    if (absent !== null) return absent
    const start = this.#starts.get(keyOf({ runId, seq }))
    const source = `record ${seq} of run ${runId}`
    if (start === undefined) return wrong(`it names ${source} as its start, which starts no run`)
    const { payload } = start
    const above = this.#runs.get(runId)?.parent?.depth ?? 0
    const different = differenceOf([
      ['the run', child.runId, payload.run_id],
      ['the hash', hash, start.hash],
      ['the call', call_id, payload.call_id],
      ['the depth', depth, above + 1],
    ])
    if (different !== null) return wrong(`it names ${source} as its start, ${different}`)
    if (!mayBeSame(child.payload.config, payload.config)) {
      return wrong(`its configuration is not the one in ${source}`)
    }
    if (!mayBeSame(child.payload.instructions, start.instructions)) {
      return wrong(`its instructions are not those of the call ${call_id} of run ${runId}`)
    }
    return null
  }

  /** The record that starts a sub-agent, with the first record of that. */
  #judgeStart(start: Start): Judgement {
    const { run_id: runId } = start.payload
    if (this.#runs.has(runId)) {
      const parent = this.#children.get(runId)?.parent
      const isNamed = parent?.run_id === start.runId && parent.seq === start.seq
      return isNamed ? null : wrong(`it starts run ${runId}, which does not name it as its start`)
    }
    if (this.#bad.has(runId)) return notCompared(`run ${runId}, which it starts, does not hold`)
    // A run that has ended is judged by its end. One that has none may not have been created.
    if (this.#ends.some(({ end }) => end.run_id === runId)) return null
    return notCompared(`it starts run ${runId}, which is not here: perhaps it was never created`)
  }

  /** The end of a sub-agent as its parent has recorded it, with the log of the sub-agent. */
  #judgeEnd(claim: End): Judgement {
    const { end } = claim
    const { run_id: runId, seq } = end
    const absent = this.#absence(claim, { runId, seq }, `its sub-agent, up to record ${seq}`)
    if (absent !== null) return absent
    const states = this.#states.get(runId)
    // If the run names no parent, its start reports that.
    if (states === undefined) return null
    const state = states[seq]
    if (state === undefined) {
      return wrong(`it names record ${seq} of run ${runId}, which has ${states.length} records`)
    }
    const { head, status, waitedSeconds, used: least, waitsFor } = state
    const most = waitsFor === null ? least : plus(least, this.#mostOf(waitsFor))
    const hasTokens = isBetween(end.tokens, least.tokens, most.tokens)
    const hasPrice = isBetween(end.cost_usd, least.costUsd, most.costUsd)
    const different = differenceOf([
      ['the hash', end.hash, head],
      ['the status', end.status, status],
      ['the seconds with people', end.waited_seconds, waitedSeconds],
      ['the tokens', end.tokens, hasTokens ? end.tokens : least.tokens],
      ['the price', end.cost_usd, hasPrice ? end.cost_usd : least.costUsd],
    ])
    return different === null ? null : wrong(`it names record ${seq} of run ${runId}, ${different}`)
  }

  /**
   * The most that a run can have used at any time before now, with the sub-agents that it does not count or may count in
   * part. A parent that is aborted counts what the sub-agents of its sub-agent have used by then.
   */
  #mostOf(runId: string, depth = 0): Used {
    const run = this.#runs.get(runId) ?? null
    if (run === null || depth > MAX_DEPTH) return UNKNOWN
    return openSubagents(run).reduce(
      (sum, { run_id }) => plus(sum, this.#mostOf(run_id, depth + 1)),
      run.used,
    )
  }

  /** Why the record of the other run cannot be compared; null if it can. */
  #absence({ runId, created }: Claim, other: RecordPlace, what: string): Judgement {
    const bad = this.#bad.get(other.runId)
    if (bad !== undefined && bad <= other.seq) {
      return notCompared(`run ${other.runId} holds only up to its record ${bad}`)
    }
    if (this.#runs.has(other.runId)) return null
    if (this.#isRemoved(other.runId)) {
      return notCompared(`run ${other.runId}, ${what}, was removed, as the ledger retention says`)
    }
    const message = `run ${other.runId}, ${what}, is not here`
    if (!this.#isWhole) return notCompared(message)
    // A run that was stored after it had ended was stored by another server first.
    const endedAt = this.#runs.get(runId)?.endedAt ?? null
    return endedAt !== null && created >= endedAt * 1000
      ? notCompared(`${message}: this run was imported, or copied`)
      : { problem: 'missing', message: `${message}: it was dropped` }
  }
}

/** The first of these values that is not what it should be, as a part of a sentence; null if all are. */
function differenceOf(
  values: readonly (readonly [what: string, named: unknown, actual: unknown])[],
): string | null {
  const [what, named, actual] = values.find(([, one, other]) => one !== other) ?? []
  return what === undefined ? null : `with ${what} ${named}, and there it is ${actual}`
}

const keyOf = ({ runId, seq }: RecordPlace): string => `${runId}/${seq}`

function stateOf(run: VerifiedRun): State {
  const { head, used, waitedSeconds, phase } = run
  const status = phase.type === 'ended' ? phase.status : 'running'
  return { head, used, waitedSeconds, status, waitsFor: openSubagent(run)?.run_id ?? null }
}

const UNKNOWN: Used = { tokens: Number.POSITIVE_INFINITY, costUsd: Number.POSITIVE_INFINITY }

/** Records that were forged can name each other in a circle. */
const MAX_DEPTH = 100

/** Prices that are not known are null, and stay so whatever is added to them. */
function isBetween(named: number | null, least: number | null, most: number | null): boolean {
  const sum = (price: number | null): number => price ?? Number.POSITIVE_INFINITY
  return sum(named) >= sum(least) && sum(named) <= sum(most)
}
