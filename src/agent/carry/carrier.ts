import { err, ok, type Result } from 'neverthrow'
import type { ArtifactSource } from '../../artifacts/artifacts.ts'
import type { CommandOnRun } from '../../domain/commands.ts'
import type { CarryError } from '../../domain/errors.ts'
import { present } from '../../domain/present.ts'
import type { Seen } from '../../domain/records.ts'
import type { ProjectFolder } from '../../domain/run-config.ts'
import { type LeftOut, MOST_NAMED } from '../../domain/snapshots.ts'
import { isAtRest, type RunState } from '../../domain/state.ts'
import { messageOf } from '../../lib/message-of.ts'
import { type CommandError, handleCommand } from '../../log/handle-command.ts'
import { type Author, load, readRecords } from '../../log/run-log.ts'
import { projectOf, projectProblem } from '../../sandbox/project-folder.ts'
import { type CarriedChanges, carriedChanges, type KnownFiles } from '../../snapshots/carried.ts'
import { leftOutOf, patchOfKept } from '../../snapshots/changes.ts'
import { RunFiles, type SnapshotAt, snapshotsOf } from '../../snapshots/run-files.ts'
import type { EventStore } from '../../store/event-store.ts'
import type { OpenWorkspace, Workspace } from '../../workspace/workspace.ts'
import { type FolderLocks, folderOfRun } from '../supervisor/folder-locks.ts'
import type { Copies } from './copies.ts'
import { type Carried, makeBranch, shown, write } from './write-files.ts'

type Failure = CarryError | CommandError
type Asked = {
  readonly dry_run: boolean
  readonly reason: string | null
  readonly seen: Seen | null
}
type Carrying = Extract<CommandOnRun, { type: 'record_carried' }>['carried']
/** What the records of carried files have in common. */
type Common = Pick<Carrying['payload'], 'files' | 'count' | 'not_carried' | 'reason'>

/** A run whose files are carried. */
type Opened = {
  readonly state: RunState
  readonly own: readonly [SnapshotAt, ...SnapshotAt[]]
  /** The first snapshots of the runs that have worked in its copy or in one that it was made of, oldest first. */
  readonly starts: readonly SnapshotAt[]
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

/** Carries files of snapshots to a folder: back, or from a copy to the project. */
export class Carrier {
  readonly #deps: Deps

  constructor(deps: Deps) {
    this.#deps = deps
  }

  /** Makes the files of the project those of an earlier snapshot: the last one up to the record `to`. */
  async rollback(runId: string, { to, ...asked }: Asked & { readonly to: number }, author: Author) {
    return this.#opened(runId, asked.seen, async ({ state, own, files }) => {
      const target = own.findLast(({ seq }) => seq <= to) ?? own[0]
      const plan = await this.#plan(own.slice(-1), target, files)
      if (plan.isErr()) return err(plan.error)
      const place = { state, folder: projectOf(state), asked }
      return this.#inFolder(place, async (workspace) => {
        const done = await write(workspace, plan.value, files, asked.dry_run)
        const { seq, snapshot } = target
        return this.#recorded(done, plan.value, { ...place, author }, (common) => ({
          kind: 'files_rolled_back',
          payload: { to: seq, to_tree: snapshot.tree, ...common },
        }))
      })
    })
  }

  /** Carries what a run did in its copy to the project, from its objects alone. */
  async apply(
    runId: string,
    {
      as,
      branch = `retrai/${runId}`,
      ...asked
    }: Asked & { readonly as: 'files' | 'patch' | 'branch'; readonly branch?: string | undefined },
    author: Author,
  ) {
    return this.#opened(runId, asked.seen, async ({ state, own, starts, files }) => {
      const [from = own[0], to = own[0]] = [starts[0], own.at(-1)]
      if (state.copy === undefined) return err({ type: 'no_copy' })
      const plan = await this.#plan(starts, to, files)
      if (plan.isErr()) return err(plan.error)
      const place = { state, folder: state.copy.of, asked, author }
      const record = (done: Result<Carried, Failure>) =>
        this.#recorded(done, plan.value, place, (common) => {
          const { branch, commit } = done.unwrapOr(null) ?? {}
          const trees = { from_tree: from.snapshot.tree, to_tree: to.snapshot.tree }
          return {
            kind: 'changes_applied',
            payload: { as, ...trees, ...common, ...present({ branch, commit }) },
          }
        })
      const { changes, notCarried: not_carried } = plan.value
      const all = { files: changes.map(shown), not_carried }
      if (as === 'patch') {
        const patch = await patchOfKept(files, { from, to }, changes, true)
        return record(ok({ ...all, patch: patch.toString() }))
      }
      const done = await this.#inFolder(place, async (workspace) => {
        if (as === 'files') return record(await write(workspace, plan.value, files, asked.dry_run))
        const patch = await patchOfKept(files, { from, to }, changes, false)
        const message = await this.#messageOf(state)
        return record(await makeBranch(workspace, all, { name: branch, message, patch, ...asked }))
      })
      const isOver = state.phase.type === 'ended' && state.copy.is === 'made' && !asked.dry_run
      if (as === 'files' && isOver && done.isOk()) await this.#deps.copies.remove(state)
      return done
    })
  }

  /** Removes the copy of a run that has ended. */
  async discard(
    runId: string,
    asked: Pick<Asked, 'reason' | 'seen'>,
    author: Author,
  ): Promise<Result<RunState, Failure>> {
    const { store, now, copies, locks } = this.#deps
    const found = await load(store, runId)
    if (found.isErr()) return err(found.error)
    const holder = found.value && locks.holderOf(folderOfRun(found.value.state))
    if (holder != null && holder !== runId) return err({ type: 'folder_in_use', holder })
    const done = await handleCommand(store, runId, { type: 'discard', ...asked }, { author, now })
    if (done.isErr()) return err(done.error)
    await copies.remove(done.value.state)
    return ok(done.value.state)
  }

  /** Whether nothing that a run did in its copy would be lost with it. Never rejects. */
  async keepsAll(runId: string): Promise<boolean> {
    const { artifacts } = this.#deps
    const found = await this.#opened(runId, null, async ({ own, starts, files }) => {
      const last = own.at(-1) ?? own[0]
      const plan = await this.#plan(starts, last, files)
      const before = (await leftOutOf(own[0], artifacts))?.map((one) => JSON.stringify(one)) ?? []
      const after = await leftOutOf(last, artifacts)
      const isKept = (one: LeftOut): boolean =>
        one.why === 'ignored' || (isKnown(one) && before.includes(JSON.stringify(one)))
      return ok(plan.isOk() && plan.value.gone === 0 && after?.every(isKept) === true)
    })
    return found.unwrapOr(false)
  }

  /** Does something with a run that no server works on. */
  async #opened<T>(
    runId: string,
    seen: Seen | null,
    act: (opened: Opened) => Promise<Result<T, Failure>>,
  ): Promise<Result<T, Failure>> {
    const { store, artifacts, packsOf } = this.#deps
    const found = await load(store, runId)
    if (found.isErr()) return err(found.error)
    if (found.value === null) return err({ type: 'run_not_found' })
    const { state } = found.value
    if (!isAtRest(state)) return err({ type: 'run_at_work' })
    if (seen !== null) {
      const [there] = (await readRecords(store, runId, seen.seq, 1)).unwrapOr([])
      if (there?.meta.hash !== seen.hash) return err({ type: 'seen_otherwise', seq: seen.seq })
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
    const starts = family.flatMap((snapshots) => snapshots.slice(0, 1))
    try {
      const files = await RunFiles.open(family.flat(), artifacts, packsOf)
      return await act({ state, own: [first, ...more], starts, files })
    } catch (cause) {
      return err({
        type: 'not_carried',
        message: `The snapshots cannot be read now: ${messageOf(cause)}`,
      })
    }
  }

  async #plan(
    starts: readonly SnapshotAt[],
    to: SnapshotAt,
    files: RunFiles,
  ): Promise<Result<CarriedChanges, Failure>> {
    const known: KnownFiles[] = []
    for (const one of [...starts, to]) {
      const leftOut = await leftOutOf(one, this.#deps.artifacts)
      if (leftOut === null)
        return err({ type: 'not_carried', message: 'What a snapshot left out is lost.' })
      known.push({ tree: one.snapshot.tree, leftOut })
    }
    const [wanted = known[0], ...before] = known.toReversed()
    if (wanted === undefined) return err({ type: 'snapshot_not_found' })
    return ok(await carriedChanges(before.toReversed(), wanted, files))
  }

  /** Opens the folder for as long as nobody else may work in it. */
  async #inFolder<T>(
    { state, folder, asked }: { state: RunState; folder: ProjectFolder; asked: Asked },
    act: (workspace: Workspace) => Promise<Result<T, Failure>>,
  ): Promise<Result<T, Failure>> {
    const problem = projectProblem(folder.path, folder)
    if (problem !== null) return err({ type: 'not_carried', message: `${problem}.` })
    const { locks, openWorkspace } = this.#deps
    const lent = asked.dry_run ? null : locks.borrow({ ...folderOfRun(state), folder: folder.path })
    if (lent?.isErr()) return err({ type: 'folder_in_use', holder: lent.error })
    const project = { cwd: folder.path, policy: state.isolation, folder }
    try {
      await using workspace = openWorkspace(project)
      return await act(workspace)
    } finally {
      if (lent?.isOk()) lent.value()
    }
  }

  /** Records what was done, unless that was only looked at. */
  async #recorded(
    done: Result<Carried, Failure>,
    { changes, notCarried }: CarriedChanges,
    { state, asked, author }: { state: RunState; asked: Asked; author: Author },
    carriedOf: (common: Common) => Carrying,
  ): Promise<Result<Carried, Failure>> {
    const { dry_run, reason, seen } = asked
    if (done.isErr() || dry_run) return done
    const common = {
      ...{ files: changes.slice(0, MOST_NAMED).map(shown), count: changes.length },
      ...(notCarried.length === 0 ? {} : { not_carried: [...notCarried] }),
      ...present({ reason }),
    }
    const { store, now } = this.#deps
    const command = { type: 'record_carried', carried: carriedOf(common), seen } as const
    const recorded = await handleCommand(store, state.runId, command, { author, now })
    return recorded.map((run) => ({ ...done.value, seq: run.state.seq }))
  }

  /** The message of a commit, with what the run was asked for as its title. */
  async #messageOf({ runId, config: { goal } }: RunState): Promise<string> {
    const [first] = (await readRecords(this.#deps.store, runId, 0, 1)).unwrapOr([])
    const asked =
      first?.record.kind === 'run_created' ? first.record.payload.instructions : undefined
    const title = asked?.split('\n', 1)[0] ?? `Reach the goal ${goal}`
    return `${title.length > MAX_TITLE ? `${title.slice(0, MAX_TITLE - 1)}…` : title}\n\nRun: ${runId}\n`
  }
}

/** Whether its content is known. */
const isKnown = ({ sha256, commitment, commit }: LeftOut): boolean =>
  (sha256 ?? commitment ?? commit) !== undefined
