import type { Result } from 'neverthrow'
import { type FolderLocks, folderOfRun, isOpenTo, takesLock } from '../../carry/folder-locks.ts'
import { crashReason } from '../../domain/decide-for-agent.ts'
import { type ModelChoice, modelsLeft } from '../../domain/model-choice.ts'
import type { RunState } from '../../domain/state.ts'
import { crashesAfter } from '../../domain/subagent-state.ts'
import { Backoff, pauseMs, sleep } from '../../lib/backoff.ts'
import { runIdOf } from '../../log/run-log.ts'
import type { ModelInfo } from '../../models/catalogue.ts'
import { type OfProject, projectOf, projectProblem } from '../../sandbox/project-folder.ts'
import { folderProblem } from '../planning/problems.ts'
import type { Effects } from '../run/effects.ts'
import { type LogAccess, RunSession, type SessionError } from '../run/session.ts'
import { endWith } from '../subagents/subagents.ts'

export type ClaimDeps = LogAccess & {
  readonly effects: Effects
  readonly process: ProcessIdentity
  /** The pool of this server: it works on no run of another one. Null if it may work on all runs. */
  readonly pool: string | null
  /** How long a run that this server cannot work on is left to others. */
  readonly queueAfterMs: number
  /** How many runs may be worked on at once. More runs wait in order. */
  readonly maxRunsAtWork: number
  readonly locks: FolderLocks
  /** Why the process with this claimant does not work on its runs any more; undefined if it was stopped, or nobody knows. */
  readonly lossOf: (claimant: string) => 'crash' | 'lease_expired' | undefined
}

/** This process, as `run_claimed` names it. */
type ProcessIdentity = {
  /** The server, the same through all its restarts. */
  readonly server: string
  /** Unique to each start; begins with the server and a slash. */
  readonly claimant: string
  readonly pid: number
  readonly host: string
}

/** How long a run rests that two crashes interrupted, or three, or four. */
const RESTS_MS = [5_000, 30_000, 180_000] as const

/** Errors that mean that the work of this process on a run is over. */
const STOPPED: ReadonlySet<string> = new Set<SessionError['type']>([
  'cancelled',
  'run_ended',
  'claim_lost',
])

/** Whose runs may be claimed, in addition to own ones: of any process, of none, or of one claimant (null: of no claimant). */
export type From = 'anyone' | 'nobody' | { readonly claimant: string | null }

/** Waits until a run that could not be claimed is tried again; false if the work on it is over. */
export type Wait = () => Promise<boolean>

const OVER: Wait = async () => false
const CANNOT_BEGIN = 'the work on a run cannot begin: retrying'

/** How this process gets a run, or why it does not. */
export class Claim {
  /** Null until the run is read. */
  session: RunSession | null = null
  readonly #runId: string
  readonly #from: From
  readonly #deps: ClaimDeps
  readonly #signal: AbortSignal
  readonly #later: Wait
  /** Why this server cannot work on the run, as it recorded last. */
  #reported: string | null = null
  /** Whether it has rested after crashes. */
  #rested = false
  /** A redaction changed the run while it was being read. */
  #redacted = false

  constructor(runId: string, from: From, deps: ClaimDeps, signal: AbortSignal) {
    this.#runId = runId
    this.#from = from
    this.#deps = deps
    this.#signal = signal
    const backoff = new Backoff(deps.retryMs)
    this.#later = () => backoff.wait(signal)
  }

  /** After a redaction of a run: makes this one be read again before its next step, if it holds what that says. */
  forget(runId: string): void {
    if (this.session?.holds(runId) === false) return
    this.#redacted = true
    this.session?.forget()
  }

  /** Records that the run waits for its turn. */
  async queueForTurn(): Promise<void> {
    try {
      const opened = await this.#open()
      if (opened.isErr() || !this.#mayTake(opened.value.state)) return
      const { maxRunsAtWork: limit, process } = this.#deps
      const reason = `It waits for its turn: ${limit === 1 ? 'one run is' : `${limit} runs are`} at work on ${process.host}, the most that RETRAI_MAX_RUNS_AT_WORK allows.`
      await this.#queue(opened.value, reason, false)
    } catch (cause) {
      this.#tryAgain(cause)
    }
  }

  /** Reads and claims the run. After an unexpected exception, nothing was done for the run, and it is read again. */
  begin(): Promise<RunSession | Wait> {
    return this.#begin().catch((cause) => this.#tryAgain(cause))
  }

  async #begin(): Promise<RunSession | Wait> {
    const opened = await this.#open()
    const deps = { ...this.#deps, signal: this.#signal }
    if (opened.isErr()) {
      const { error } = opened
      const lost = error.type === 'damaged_record' ? runIdOf(error.stream) : this.#runId
      if (lost !== this.#runId) await endWith('origin', lost, this.#runId, deps)
      return this.report(error)
    }
    const session = opened.value
    const { parent, phase } = session.state
    if (parent !== undefined && phase.type !== 'ended') {
      if (await endWith('parent', parent.run_id, this.#runId, deps)) return OVER
    }
    if (!this.#mayTake(session.state)) return OVER
    const locked = await this.#waitForFolder(session)
    if (locked !== null) return locked
    if (session.state.claimant === this.#deps.process.claimant) return session
    const obstacle = await this.#deps.effects.obstacle(session.state)
    if (obstacle !== null) return this.#wait(session, obstacle)
    const rest = await this.#restAfterCrashes(session)
    return rest ?? this.#claim(session)
  }

  /** Reads the run, or what was added since it was read. */
  async #open(): Promise<Result<RunSession, SessionError>> {
    if (this.session !== null)
      return (await this.session.update()).map(() => this.session as RunSession)
    const opened = await RunSession.open(this.#runId, {
      ...this.#deps,
      claimant: this.#deps.process.claimant,
      readOnlyTools: this.#deps.effects.toolbox.readOnly,
      signal: this.#signal,
    })
    if (opened.isErr()) return opened
    if (this.#redacted) opened.value.forget()
    this.session = opened.value
    return opened
  }

  #tryAgain(err: unknown): Wait {
    const fields = { run_id: this.#runId, err }
    if (!this.#signal.aborted) this.#deps.log.error(fields, CANNOT_BEGIN)
    this.session = null
    return this.#later
  }

  /** If another process has claimed the run meanwhile, that claim wins. */
  #mayTake({ claimant, pool }: RunState): boolean {
    if (claimant === this.#deps.process.claimant) return true
    if (!isOpenTo(this.#deps.pool, pool)) return false
    const from = this.#from
    return from === 'anyone' || (from !== 'nobody' && from.claimant === claimant)
  }

  /** While this server cannot work on the run, another one may claim it. */
  async #wait(session: RunSession, reason: string): Promise<Wait> {
    if (reason === this.#reported && session.state.queued !== null) return this.#later
    const { log, queueAfterMs } = this.#deps
    if (this.#reported === null && !(await sleep(queueAfterMs, this.#signal))) return OVER
    if (!(await this.#queue(session, reason))) return OVER
    log.warn({ run_id: this.#runId, reason }, 'run is queued')
    this.#reported = reason
    return this.#later
  }

  /** Only one run at a time works in a folder, unless it is said otherwise. Null if this one may. */
  async #waitForFolder(session: RunSession): Promise<Wait | null> {
    const { state } = session
    const { locks } = this.#deps
    const { count } = locks.freed
    const whenFree: Wait = async () => {
      await locks.freed.wait(this.#signal, count)
      return !this.#signal.aborted
    }
    const asked = folderOfRun(state)
    const holder = takesLock(state) ? locks.holderOf(asked) : null
    if (holder === null) return locks.isLent(asked) ? whenFree : null
    const reason = `It waits for the run ${holder}, which was started before it and works in the same folder, in one inside it or around it. A run that is started as shared does not wait.`
    return (await this.#queue(session, reason)) ? whenFree : OVER
  }

  /** What was under way in two crashes may be their cause: it is tried again after a rest. Null if it needs none. */
  async #restAfterCrashes(session: RunSession): Promise<Wait | null> {
    const { state } = session
    const crashes = crashesAfter(state, this.#loss(state) === 'crash')
    const ms = this.#rested ? undefined : RESTS_MS[crashes - 2]
    if (ms === undefined) return null
    const reason = `${crashReason(state, crashes)}. It is tried again after a pause of up to ${ms / 1_000} seconds.`
    if (!(await this.#queue(session, reason))) return OVER
    this.#rested = true
    return () => sleep(pauseMs([ms, ms], 0), this.#signal)
  }

  #loss({ claimant }: RunState) {
    return claimant === null ? undefined : this.#deps.lossOf(claimant)
  }

  /** Whether it is recorded why no server works on the run. */
  async #queue(session: RunSession, reason: string, overrides = true): Promise<boolean> {
    const { claimant: expected } = session.state
    const queued = await session.record({ type: 'queue', reason, expected, overrides })
    if (queued.isErr()) this.report(queued.error)
    return queued.isOk()
  }

  async #claim(session: RunSession): Promise<RunSession | Wait> {
    const { claimant: expected } = session.state
    const { pid, host } = this.#deps.process
    const after = this.#loss(session.state)
    const claimed = await session.record({ type: 'claim', expected, pid, host, after })
    if (claimed.isErr()) return this.report(claimed.error)
    this.#deps.log.info({ run_id: this.#runId, taken_from: expected }, 'run claimed')
    return session
  }

  report(error: SessionError): Wait {
    const { log } = this.#deps
    const fields = { run_id: this.#runId, error }
    if (STOPPED.has(error.type)) log.info(fields, 'work on the run stopped')
    else log.error(fields, 'run cannot continue')
    return OVER
  }
}

type KnownProblems = { about(modelName: string): Promise<Pick<ModelInfo, 'problem'>> }

/**
 * What keeps this server from working on a run, as a sentence with advice: it does not have the project's folder, or can call
 * none of the models. Null if nothing does.
 */
export async function obstacle(
  run: ModelChoice & OfProject & Pick<RunState, 'copy'>,
  { models, host }: { readonly models: KnownProblems; readonly host: string },
): Promise<string | null> {
  // Until there is a copy, the project is what is needed.
  const source = run.copy?.is === 'due' ? run.copy.of : null
  const cwd = source?.path ?? run.config.cwd
  const missing = await folderProblem(cwd)
  const folder = missing === null ? projectProblem(cwd, source ?? projectOf(run)) : `it ${missing}`
  if (folder !== null) {
    return `The server on ${host} cannot work in ${cwd}: ${folder}. Put the project there, or start a server of the same pool on a machine that has it.`
  }
  const ask = async (model: string) => {
    const { problem } = await models.about(model)
    return problem === null ? null : `the model "${model}" ${problem}`
  }
  const problems = await Promise.all(modelsLeft(run).map(ask))
  return problems.includes(null) ? null : `On ${host}, ${problems.join(' Also, ')}`
}
