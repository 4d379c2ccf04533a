import { json } from 'node:stream/consumers'
import * as z from 'zod'
import type { ArtifactSource, Artifacts } from '../../artifacts/artifacts.ts'
import { type Goal, type GoalVerdict, nameList, notAchieved } from '../../checks/goal.ts'
import { protectedIn } from '../../checks/protected.ts'
import { present } from '../../domain/present.ts'
import type { PayloadOf } from '../../domain/records.ts'
import {
  MOST_NAMED,
  ProtectedFile,
  ProtectedFiles,
  type ProtectedQuestion,
  type Snapshot,
  type Tampered,
  tamperingBetween,
} from '../../domain/snapshots.ts'
import type { Logger } from '../../lib/logger.ts'
import { messageOf } from '../../lib/message-of.ts'
import type { Workspace } from '../../workspace/workspace.ts'
import { describeProblem } from '../../workspace/workspace-process.ts'
import type { RunSession } from './session.ts'

/** A project of many tests on a busy disk. */
const WITHIN_MS = 120_000

export type ProtectionDeps = {
  readonly session: Pick<RunSession, 'state'>
  readonly files: Pick<Workspace, 'ask'>
  readonly effects: {
    readonly findGoal: (name: string) => Goal
    readonly keepArtifact: Artifacts['put']
    readonly readArtifact: ArtifactSource['read']
    readonly log: Pick<Logger, 'warn'>
  }
  readonly signal: AbortSignal
}

/** What a check found, as far as it says whether the check is that of the beginning. */
type Found = Pick<PayloadOf<'goal_check'>, 'tampering' | 'tests' | 'named_tests' | 'vanished'>

/** Parameters, documentation, and tests of Python, whose files are protected. */
const OF_PRODUCT = /[[(]| - |\.py::/
/** Without the modules that it is in. */
const ownName = (name: string): string => name.slice(name.lastIndexOf('::') + 1)

const inOrder = (a: Pick<Tampered, 'path'>, b: Pick<Tampered, 'path'>): number =>
  a.path < b.path ? -1 : 1

/** The protected files of a run, compared with what they were when it began. They are those of the last snapshot. */
export class Protection {
  readonly #deps: ProtectionDeps
  #atStart: ProtectedFiles | null = null

  constructor(deps: ProtectionDeps) {
    this.#deps = deps
  }

  /** The list for the first snapshot of a run; null if nothing is compared, or if an agent may have changed the files already. */
  async first(): Promise<Snapshot['protected'] | null> {
    const { config, iteration, snapshot, start } = this.#deps.session.state
    if (snapshot !== undefined || iteration > 0) return null
    if (start !== undefined) return this.#keep(await this.#listOf(start.protected))
    const asked = protectedIn(config, this.#deps.effects.findGoal)
    if (asked === null) return null
    const { tests, others } = asked
    return this.#keep({ tests, others, files: await this.#now(asked) })
  }

  /** The protected files when the run began; null if none are known. Rejects if their list cannot be read. */
  async atStart(): Promise<ProtectedFiles | null> {
    const name = this.#deps.session.state.snapshot?.first.protected
    if (name === undefined) return null
    this.#atStart ??= await this.#listOf(name)
    return this.#atStart
  }

  /** The protected files when the run began, and now; null if that is not known. */
  compared(): Promise<{ before: ProtectedFiles['files']; now: ProtectedFiles['files'] } | null> {
    return orWarn(this.#deps, 'the protected files cannot be compared', async () => {
      const before = await this.atStart()
      return before && { before: before.files, now: await this.#now(before, before.files) }
    })
  }

  /** What was changed since the run began; null if that is not known, or cannot be compared now. */
  tampering(): Promise<readonly Tampered[] | null> {
    return this.compared().then((found) => found && tamperingBetween(found.before, found.now))
  }

  /** The list again, if the first check of the goal itself has changed files: what it does is no tampering. */
  afterFirstCheck(): Promise<Snapshot['protected'] | null> {
    return orWarn(this.#deps, 'what the check changes is not known', async () => {
      const before = await this.atStart()
      if (before === null) return null
      const now = await this.#now(before, before.files)
      const changed = new Set(tamperingBetween(before.files, now).map(({ path }) => path))
      if (changed.size === 0) return null
      const rest = before.files.filter(({ path }) => !changed.has(path))
      const own = [...changed].map((path) => ({ path, mode: '', id: null }))
      this.#atStart = null
      return this.#keep({ ...before, files: [...rest, ...own].sort(inOrder) })
    })
  }

  /** @param changed before the check and after it, because a check may restore what was changed */
  async found(
    verdict: GoalVerdict,
    changed: readonly (readonly Tampered[] | null)[],
  ): Promise<Found> {
    if (this.#deps.session.state.config.on_tampering === 'off') return {}
    const byPath = new Map(changed.flatMap((list) => list ?? []).map((one) => [one.path, one]))
    const tampering = [...byPath.values()].sort(inOrder)
    const named = await orWarn(this.#deps, 'the names of tests cannot be compared', () =>
      this.#names(verdict.names),
    )
    return {
      ...present({ tests: verdict.tests }),
      ...(tampering.length > 0 && { tampering: tampering.slice(0, MOST_NAMED) }),
      ...named,
    }
  }

  async #names(names: GoalVerdict['names']): Promise<Pick<Found, 'named_tests' | 'vanished'>> {
    if (names === undefined) return {}
    const first = await this.#firstTests()
    if (first === null) {
      return { named_tests: await this.#deps.effects.keepArtifact(JSON.stringify(names)) }
    }
    const now = new Set(names)
    const vanished = first.filter((name) => !now.has(name))
    return vanished.length === 0 ? {} : { vanished: vanished.slice(0, MOST_NAMED) }
  }

  /** The tests that the first check named; null if none has named any. */
  async #firstTests(): Promise<readonly string[] | null> {
    const { namedTests } = this.#deps.session.state
    return namedTests === undefined ? null : z.array(z.string()).parse(await this.#list(namedTests))
  }

  /**
   * A check in which a test of the start did not run, wherever it is now, is another one: tests may be in files of the product.
   * A name may hold what the product says.
   */
  async withoutLost(judged: GoalVerdict): Promise<GoalVerdict> {
    const { verdict, names } = judged
    const first = verdict === 'achieved' && names !== undefined ? await this.#firstTests() : null
    const now = new Set(names?.map(ownName))
    const lost = first?.filter((name) => !OF_PRODUCT.test(name) && !now.has(ownName(name))) ?? []
    return lost.length === 0
      ? judged
      : notAchieved(`Tests of the start are gone: ${nameList(lost)}`)
  }

  /** @param known the list when the run began */
  async #now(
    { tests, others }: Pick<ProtectedQuestion, 'tests' | 'others'>,
    known?: ProtectedFiles['files'],
  ) {
    const { session, effects } = this.#deps
    // A list is kept longer than a redacted command, so it does not hold that.
    const { texts = [] } = protectedIn(session.state.config, effects.findGoal) ?? {}
    const { files, signal } = this.#deps
    const body = known === undefined ? {} : { body: Buffer.from(JSON.stringify(known)) }
    const options = { signal, withinMs: WITHIN_MS, ...body }
    const answer = await files.ask('protected', { tests, others, texts }, options)
    if (answer.isErr()) throw new Error(describeProblem('.', answer.error.problem))
    return z.array(ProtectedFile).parse(JSON.parse(answer.value.body.toString()))
  }

  async #keep(list: ProtectedFiles): Promise<NonNullable<Snapshot['protected']>> {
    const sha256 = await this.#deps.effects.keepArtifact(JSON.stringify(list))
    return { count: list.files.length, sha256 }
  }

  async #listOf(sha256: string): Promise<ProtectedFiles> {
    return ProtectedFiles.parse(await this.#list(sha256))
  }

  async #list(sha256: string): Promise<unknown> {
    const found = await this.#deps.effects.readArtifact(sha256)
    if (found === null) throw new Error(`the artifact ${sha256} is missing`)
    return json(found.stream)
  }
}

/** Null if it fails, which the log of the server says. */
export async function orWarn<T>(
  {
    session,
    effects,
    signal,
  }: Pick<ProtectionDeps, 'session' | 'signal'> & {
    readonly effects: Pick<ProtectionDeps['effects'], 'log'>
  },
  what: string,
  make: () => Promise<T>,
): Promise<T | null> {
  try {
    return await make()
  } catch (cause) {
    const { runId: run_id } = session.state
    if (!signal.aborted) effects.log.warn({ run_id, why: messageOf(cause) }, what)
    return null
  }
}
