import { err, ok, type Result } from 'neverthrow'
import type { ArtifactSource } from '../artifacts/artifacts.ts'
import type { CommandOnRun } from '../domain/commands.ts'
import type { CarryError } from '../domain/errors.ts'
import { present } from '../domain/present.ts'
import type { Seen } from '../domain/records.ts'
import type { ProjectFolder } from '../domain/run-config.ts'
import { MOST_NAMED } from '../domain/snapshots.ts'
import { isAtRest, type RunState } from '../domain/state.ts'
import { messageOf } from '../lib/message-of.ts'
import { type CommandError, handleCommand } from '../log/handle-command.ts'
import { type Author, load, readRecords } from '../log/run-log.ts'
import { projectOf, projectProblem } from '../sandbox/project-folder.ts'
import { changesAsPatch, leftOutOf } from '../snapshots/changes.ts'
import { RunFiles, type SnapshotAt, snapshotsOf } from '../snapshots/run-files.ts'
import type { EventStore } from '../store/event-store.ts'
import type { OpenWorkspace, Workspace } from '../workspace/workspace.ts'
import {
  type Carried,
  type CarriedChanges,
  carriedChanges,
  makeBranch,
  shown,
  write,
} from './carried.ts'
import type { Copies } from './copies.ts'
import { type FolderLocks, folderOfRun } from './folder-locks.ts'

type Failure = CarryError | CommandError
type Outcome<T> = Promise<Result<T, Failure>>
type Asked = {
  readonly dry_run: boolean
  readonly reason: string | null
  readonly seen: Seen | null
}
type Carrying = Extract<CommandOnRun, { type: 'record_carried' }>['carried']
/** What the records of carried files have in common. */
type Common = Pick<Carrying['payload'], 'files' | 'count' | 'not_carried' | 'reason'>

/** What is done with a run, and what is known of its files. */
type Job = {
  readonly state: RunState
  readonly asked: Asked
  readonly author: Author
  readonly own: readonly [SnapshotAt, ...SnapshotAt[]]
  /** The first snapshots of the runs that have worked in its copy, or in one that it was made of, oldest first. */
  readonly starts: readonly [SnapshotAt, ...SnapshotAt[]]
  readonly files: RunFiles
}

type Deps = {
  readonly store: EventStore
  readonly artifacts: ArtifactSource
  readonly packsOf: (sha256: string) => readonly string[]
  readonly openWorkspace: OpenWorkspace
  readonly locks: FolderLocks
  readonly copies: Pick<Copies, 'remove'>
  /** Seconds since the epoch. */
  readonly now: () => number
}

const MAX_TITLE = 72
const LOOK: Asked = { dry_run: true, reason: null, seen: null }

/** Carries files of snapshots to a folder: back, or from a copy to the project. */
export class Carrier {
  readonly #deps: Deps

  constructor(deps: Deps) {
    this.#deps = deps
  }

  /** Makes the files of the project those of an earlier snapshot: the last one up to the record `to`. */
  rollback(runId: string, how: Asked & { readonly to: number }, author: Author): Outcome<Carried> {
    return this.#open(runId, how, author, async (job) => {
      const { own, state, files } = job
      if (state.copy?.is === 'discarded') return err({ type: 'no_copy' })
      const { to } = how
      if (to > state.seq) return err({ type: 'record_not_found', seq: to, last: state.seq })
      const { seq, snapshot } = own.findLast((one) => one.seq <= to) ?? own[0]
      const plan = await this.#plan(own.slice(-1), { seq, snapshot }, files)
      if (plan.isErr()) return err(plan.error)
      return this.#inFolder(projectOf(state), job, async (workspace) => {
        const done = await write(workspace, plan.value, files, how.dry_run)
        const trees = { to: seq, to_tree: snapshot.tree }
        return this.#recorded(done, plan.value, job, (common) => ({
          kind: 'files_rolled_back',
          payload: { ...trees, ...common },
        }))
      })
    })
  }

  /** Carries what a run did in its copy to the project, from its objects alone. */
  async apply(
    runId: string,
    how: Asked & { readonly as: 'files' | 'patch' | 'branch'; readonly branch?: string },
    author: Author,
  ): Outcome<Carried> {
    const { as, branch: name = `retrai/${runId}`, dry_run } = how
    return this.#open(runId, how, author, async (job) => {
      const { own, starts, files, state } = job
      if (state.copy === undefined) return err({ type: 'no_copy' })
      const from = starts[0]
      const to = own.at(-1) ?? own[0]
      const plan = await this.#plan(starts, to, files)
      if (plan.isErr()) return err(plan.error)
      const isOver = state.phase.type === 'ended' && state.copy.is === 'made'
      const isRemoved =
        isOver && as === 'files' && !dry_run && (await this.#isKept(job, plan.value))
      // A run that continues this one may work in the copy.
      const holder = isRemoved ? this.#deps.locks.holderOf(folderOfRun(state)) : null
      if (holder !== null) return err({ type: 'folder_in_use', holder })
      const { changes, notCarried: not_carried } = plan.value
      const all = { files: changes.map(shown), not_carried }
      if (as === 'branch' && changes.length === 0)
        return not('No file differs, so there is no branch.')
      const trees = { from_tree: from.snapshot.tree, to_tree: to.snapshot.tree }
      const record = (done: Result<Carried, Failure>) =>
        this.#recorded(done, plan.value, job, (common) => {
          const { branch, commit } = done.unwrapOr(null) ?? {}
          const made = present({ branch, commit })
          return { kind: 'changes_applied', payload: { as, ...trees, ...common, ...made } }
        })
      // In a branch, secrets stay as they are.
      const how = { kept: changes, isMasked: as === 'patch' }
      const patch = as === 'files' ? null : await changesAsPatch(files, { from, to }, how)
      if (as === 'patch') return record(ok({ ...all, patch: String(patch) }))
      const done = await this.#inFolder(state.copy.of, job, async (workspace) => {
        if (patch === null) return record(await write(workspace, plan.value, files, dry_run))
        const message = await this.#messageFor(state)
        return record(await makeBranch(workspace, all, { name, message, patch, dry_run }))
      })
      if (!isRemoved || done.isErr()) return done
      const why = { reason: 'Its changes were applied', seen: null }
      const last = await this.discard(runId, why, author)
      return last.isErr() ? done : done.map((carried) => ({ ...carried, seq: last.value.seq }))
    })
  }

  /** Removes the copy of a run that has ended. */
  async discard(
    runId: string,
    why: Pick<Asked, 'reason' | 'seen'>,
    author: Author,
  ): Outcome<RunState> {
    const { store, now, copies, locks } = this.#deps
    const found = (await load(store, runId)).unwrapOr(null)
    const holder = found && locks.holderOf(folderOfRun(found.state))
    if (holder !== null) return err({ type: 'folder_in_use', holder })
    const done = await handleCommand(store, runId, { type: 'discard', ...why }, { author, now })
    if (done.isOk()) await copies.remove(done.value.state)
    return done.map(({ state }) => state)
  }

  /** Whether nothing that a run did in its copy would be lost with it. Never rejects. */
  async keepsAll(runId: string): Promise<boolean> {
    const found = await this.#open(runId, LOOK, { commandId: '' }, async (job) => {
      const { own, starts, files } = job
      const plan = await this.#plan(starts, own.at(-1) ?? own[0], files)
      return ok(plan.isOk() && (await this.#isKept(job, plan.value)))
    })
    return found.unwrapOr(false)
  }

  /** Whether snapshots hold all that was done in a copy. */
  async #isKept({ own, starts }: Job, { gone }: CarriedChanges): Promise<boolean> {
    const before = await leftOutOf(starts[0], this.#deps.artifacts)
    const known = new Set(before?.map((one) => JSON.stringify(one)))
    const after = await leftOutOf(own.at(-1) ?? own[0], this.#deps.artifacts)
    const isKept = after?.every((one) => {
      const id = one.sha256 ?? one.commitment ?? one.commit
      return one.why === 'ignored' || (id !== undefined && known.has(JSON.stringify(one)))
    })
    return gone === 0 && isKept === true
  }

  /** Does something with a run that no server works on. */
  async #open<T>(
    runId: string,
    asked: Asked,
    author: Author,
    act: (job: Job) => Outcome<T>,
  ): Outcome<T> {
    const { store, artifacts, packsOf } = this.#deps
    const found = await load(store, runId)
    if (found.isErr()) return err(found.error)
    if (found.value === null) return err({ type: 'run_not_found' })
    const { state } = found.value
    if (!isAtRest(state)) return err({ type: 'run_at_work' })
    const { seen } = asked
    const [there] = seen ? (await readRecords(store, runId, seen.seq, 1)).unwrapOr([]) : []
    if (seen !== null && there?.meta.hash !== seen.hash) {
      return err({ type: 'seen_otherwise', seq: seen.seq })
    }
    const family: (readonly SnapshotAt[])[] = []
    let run: RunState | undefined = state
    while (run !== undefined && (run === state || run.copy?.of.path === state.copy?.of.path)) {
      const snapshots = await snapshotsOf(store, run.runId)
      if (snapshots.isErr()) return err(snapshots.error)
      family.unshift(snapshots.value)
      const { origin }: RunState = run
      run = origin && state.copy && (await load(store, origin.run_id)).unwrapOr(null)?.state
    }
    const [first, ...more] = family.at(-1) ?? []
    if (first === undefined) return err({ type: 'snapshot_not_found' })
    const [start = first, ...starts] = family.flatMap((snapshots) => snapshots.slice(0, 1))
    try {
      const files = await RunFiles.open(family.flat(), artifacts, packsOf)
      const known = { own: [first, ...more], starts: [start, ...starts], files } as const
      return await act({ state, asked, author, ...known })
    } catch (cause) {
      return not(`The snapshots cannot be read now: ${messageOf(cause)}`)
    }
  }

  async #plan(
    starts: readonly SnapshotAt[],
    to: SnapshotAt,
    files: RunFiles,
  ): Outcome<CarriedChanges> {
    const known = await Promise.all(
      [to, ...starts].map(async (one) => {
        const leftOut = await leftOutOf(one, this.#deps.artifacts)
        return leftOut === null ? [] : [{ tree: one.snapshot.tree, leftOut }]
      }),
    )
    const [wanted, ...before] = known.flat().filter(({ tree }) => files.tree(tree) !== null)
    if (wanted === undefined || before.length < starts.length) {
      return not('What a snapshot holds or leaves out is lost.')
    }
    return ok(await carriedChanges(before, wanted, files))
  }

  /** Opens the folder. While it is open, no run begins there. */
  async #inFolder<T>(
    folder: ProjectFolder,
    { state, asked }: Job,
    act: (workspace: Workspace) => Outcome<T>,
  ): Outcome<T> {
    const problem = projectProblem(folder.path, folder)
    if (problem !== null) return not(`${problem}.`)
    const { locks, openWorkspace } = this.#deps
    const place = { ...folderOfRun(state), folder: folder.path }
    const lent = asked.dry_run ? ok(() => {}) : locks.borrow(place)
    if (lent.isErr()) return err({ type: 'folder_in_use', holder: lent.error })
    try {
      const project = { cwd: folder.path, policy: state.isolation, folder }
      await using workspace = openWorkspace(project)
      return await act(workspace)
    } finally {
      lent.value()
    }
  }

  /** Records what was done, unless that was only looked at. */
  async #recorded(
    done: Result<Carried, Failure>,
    { changes, notCarried }: CarriedChanges,
    { state, asked: { dry_run, reason, seen }, author }: Job,
    carriedOf: (common: Common) => Carrying,
  ): Outcome<Carried> {
    if (done.isErr() || dry_run) return done
    const carried = carriedOf({
      files: changes.slice(0, MOST_NAMED).map(shown),
      count: changes.length,
      ...(notCarried.length === 0 ? {} : { not_carried: [...notCarried] }),
      ...present({ reason }),
    })
    const { store, now } = this.#deps
    const command = { type: 'record_carried', carried, seen } as const
    const recorded = await handleCommand(store, state.runId, command, { author, now })
    return recorded.map((run) => ({ ...done.value, seq: run.state.seq }))
  }

  /** The message of a commit, with what the run was asked for as its title. */
  async #messageFor({ runId, config: { goal, model_name } }: RunState): Promise<string> {
    const [first] = (await readRecords(this.#deps.store, runId, 0, 1)).unwrapOr([])
    const said =
      first?.record.kind === 'run_created' ? first.record.payload.instructions : undefined
    const title = said?.split('\n', 1)[0] ?? `Reach the goal ${goal}`
    const short = title.length > MAX_TITLE ? `${title.slice(0, MAX_TITLE - 1)}…` : title
    // As the Linux kernel asks for it: the agent, then the model.
    const model = model_name.replaceAll(/\s+/g, ' ')
    return `${short}\n\nAssisted-by: retrAI:${model}\nRun: ${runId}\n`
  }
}

const not = (message: string) => err({ type: 'not_carried' as const, message })
