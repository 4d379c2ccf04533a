import type { Origin, Parent, SubagentEnd } from '../../domain/related-runs.ts'
import { mayBeSame } from '../../domain/texts.ts'
import type { VerifiedRun } from './possible-run.ts'
import type { PayloadOf } from './read-record.ts'
import type { FamilyReport, Finding, NotCompared } from './report.ts'
import type { VerifiedRecord } from './verify-run.ts'

type RecordPlace = { readonly runId: string; readonly seq: number }
/** A record that names another run. `created` is when the store took it, in milliseconds since the epoch. */
type Claim = RecordPlace & { readonly created: number }
type Start = Claim & {
  readonly payload: PayloadOf<'subagent_started'>
  /** What the model asked for, as the tool reads it. Empty if calls cannot be told apart, because they have the same id. */
  readonly asked: readonly unknown[]
}
type Child = Claim & { readonly parent: Parent; readonly payload: PayloadOf<'run_created'> }

/** A run as far as it was seen. */
type SeenRun = {
  /** Of all its records, because any may be named by a run that is seen later. */
  readonly hashes: string[]
  readonly parent: Parent | null
  /** Its `run_end`; null until it comes. `at` is in seconds since the epoch. */
  end: { readonly seq: number; readonly status: string; readonly at: number } | null
  /** The seq of its first record with a redacted text. */
  redacted: number
}

/** What is wrong with a record, or why it was not compared (null): a part of a sentence. */
type Judgement = {
  readonly problem: 'missing' | 'family' | null
  readonly message: string
} | null

const wrong = (message: string): Judgement => ({ problem: 'family', message })
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
  readonly #runs = new Map<string, SeenRun>()
  /** The seq of the first record that does not hold. */
  readonly #bad = new Map<string, number>()
  readonly #children = new Map<string, Child>()
  readonly #starts = new Map<string, Start>()
  readonly #ends: (Claim & { readonly end: SubagentEnd })[] = []
  readonly #begun: (Claim & { readonly origin: Origin })[] = []

  /**
   * @param isWhole whether all runs of a store are seen
   * @param isRemoved whether a ledger says that a run was removed
   */
  constructor(isWhole: boolean, isRemoved: (runId: string) => boolean = () => false) {
    this.#isWhole = isWhole
    this.#isRemoved = isRemoved
  }

  /** Notes a record that holds. @param created when the store took it, in milliseconds since the epoch */
  see({ seq, record, meta, run }: VerifiedRecord, created: number): void {
    const { run_id: runId, ts } = record
    const claim = { runId, seq, created }
    const seen = this.#seenOf(run)
    seen.hashes.push(packed(meta.hash))
    if ('redacted' in meta) seen.redacted = Math.min(seen.redacted, seq)
    switch (record.kind) {
      case 'run_created': {
        const { payload } = record
        if (run.parent !== null)
          this.#children.set(runId, { ...claim, parent: run.parent, payload })
        if (payload.origin !== undefined) this.#begun.push({ ...claim, origin: payload.origin })
        return
      }
      case 'subagent_started': {
        const { payload } = record
        this.#starts.set(keyOf(claim), { ...claim, payload, asked: askedBy(run, payload.call_id) })
        return
      }
      case 'tool_result': {
        const { subagent: end } = record.payload
        if (end !== undefined) this.#ends.push({ ...claim, end })
        return
      }
      case 'run_end':
        seen.end = { seq, status: record.payload.status, at: ts }
        return
      default:
    }
  }

  #seenOf({ runId, parent }: VerifiedRun): SeenRun {
    const known = this.#runs.get(runId)
    if (known !== undefined) return known
    const seen = { hashes: [], parent, end: null, redacted: Number.POSITIVE_INFINITY }
    this.#runs.set(runId, seen)
    return seen
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
    /** @returns whether the record is as it should be */
    const take = ({ runId, seq }: RecordPlace, about: string, judgement: Judgement): boolean => {
      if (judgement === null) return true
      const { problem, message } = judgement
      unsure.add(about)
      if (problem === null) skipped.push({ run_id: runId, seq, why: message })
      else findings.push({ problem, where: placeOf({ runId, seq }), seq, message })
      return false
    }
    for (const child of this.#children.values()) take(child, child.runId, this.#judgeChild(child))
    for (const start of this.#starts.values()) {
      take(start, start.payload.run_id, this.#judgeStart(start))
    }
    for (const end of this.#ends) take(end, end.end.run_id, this.#judgeEnd(end))
    const compared = [...this.#children.keys()].filter((runId) => !unsure.has(runId)).length
    const begun = this.#begun.filter((each) => take(each, each.runId, this.#judgeOrigin(each)))
    const redacted = begun.filter(({ origin: { run_id, seq } }) => {
      return (this.#runs.get(run_id)?.redacted ?? Number.POSITIVE_INFINITY) <= seq
    })
    const origins = { compared: begun.length, redacted: redacted.length }
    const report = { compared, not_compared: skipped, ...(begun.length > 0 && { origins }) }
    return { findings, report }
  }

  /** The first record of a sub-agent, with the record of its parent that it names. */
  #judgeChild(child: Child): Judgement {
    const { run_id: runId, seq, hash, call_id, depth } = child.parent
    const other = this.#recordOf(
      child,
      { runId, seq },
      `whose agent started it by its record ${seq}`,
    )
    if (!('hash' in other)) return other.judgement
    const start = this.#starts.get(keyOf({ runId, seq }))
    const source = `record ${seq} of run ${runId}`
    if (start === undefined) return wrong(`it names ${source} as its start, which starts no run`)
    const { payload } = start
    const different = differing(`it names ${source} as its start`, [
      ['the run', child.runId, payload.run_id],
      ['the hash', hash, other.hash],
      ['the call', call_id, payload.call_id],
      ['the depth', depth, (other.run.parent?.depth ?? 0) + 1],
    ])
    if (different !== null) return different
    if (!mayBeSame(child.payload.config, payload.config)) {
      return wrong(`its configuration is not the one in ${source}`)
    }
    if (start.asked.some((asked) => !mayBeSame(child.payload.instructions, asked))) {
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
  #judgeEnd({ end, ...claim }: Claim & { readonly end: SubagentEnd }): Judgement {
    const { run_id: runId, seq } = end
    const other = this.#recordOf(claim, { runId, seq }, `its sub-agent, up to record ${seq}`)
    if (!('hash' in other)) return other.judgement
    const { parent, end: ended } = other.run
    // If the run names no parent, its start reports that.
    if (parent === null) return null
    return differing(`it names record ${seq} of run ${runId}`, [
      ['the hash', end.hash, other.hash],
      ['the status', end.status, ended !== null && ended.seq <= seq ? ended.status : 'running'],
    ])
  }

  /** The record from which a run begins. */
  #judgeOrigin({ origin, ...claim }: Claim & { readonly origin: Origin }): Judgement {
    const { run_id: runId, seq, hash } = origin
    const other = this.#recordOf(claim, { runId, seq }, `from whose record ${seq} it begins`)
    if (!('hash' in other)) return other.judgement
    return differing(`it begins from record ${seq} of run ${runId}`, [
      ['the hash', hash, other.hash],
    ])
  }

  /** The record of another run that a claim names, or why it cannot be compared. @param what it is to the claim */
  #recordOf(
    claim: Claim,
    { runId, seq }: RecordPlace,
    what: string,
  ): { readonly run: SeenRun; readonly hash: string } | { readonly judgement: Judgement } {
    const bad = this.#bad.get(runId)
    if (bad !== undefined && bad <= seq) {
      return { judgement: notCompared(`run ${runId} holds only up to its record ${bad}`) }
    }
    const run = this.#runs.get(runId)
    if (run === undefined) return { judgement: this.#absence(claim, runId, what) }
    const hash = run.hashes[seq]
    if (hash !== undefined) return { run, hash: Buffer.from(hash, 'latin1').toString('hex') }
    const message = `it names record ${seq} of run ${runId}, which has ${run.hashes.length} records`
    return { judgement: wrong(message) }
  }

  /** Why a run is not here. */
  #absence(claim: Claim, runId: string, what: string): Judgement {
    if (this.#isRemoved(runId)) {
      return notCompared(`run ${runId}, ${what}, was removed, as the ledger retention says`)
    }
    const message = `run ${runId}, ${what}, is not here`
    if (!this.#isWhole) return notCompared(message)
    // A run that was stored after it had ended was stored by another server first.
    const ended = this.#runs.get(claim.runId)?.end ?? null
    return ended !== null && claim.created >= ended.at * 1000
      ? notCompared(`${message}: this run was imported, or copied`)
      : { problem: 'missing', message: `${message}: it was dropped` }
  }
}

/** The instructions in a call of the reply. Sub-agents beside the open call are started before their calls begin. */
function askedBy({ open, pending }: VerifiedRun, callId: string): readonly unknown[] {
  const calls = [...(open === null ? [] : [open]), ...pending]
  const asked = calls
    .filter(({ call_id }) => call_id === callId)
    .map(({ args: { instructions } }) => {
      return typeof instructions === 'string' ? instructions.trim() : instructions
    })
  return asked.length > 1 ? [] : [asked[0]]
}

/** What is wrong if one of these values, which a claim names, is another one in the record that it names. */
function differing(
  claim: string,
  values: readonly (readonly [what: string, named: unknown, actual: unknown])[],
): Judgement {
  const [what, named, actual] = values.find(([, one, other]) => one !== other) ?? []
  return what === undefined
    ? null
    : wrong(`${claim}, with ${what} ${named}, and there it is ${actual}`)
}

const keyOf = ({ runId, seq }: RecordPlace): string => `${runId}/${seq}`

/** A hash in hex, in half the memory. */
const packed = (hash: string): string => Buffer.from(hash, 'hex').toString('latin1')
