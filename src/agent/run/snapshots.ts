import { randomBytes } from 'node:crypto'
import type { Artifacts } from '../../artifacts/artifacts.ts'
import { present } from '../../domain/present.ts'
import {
  type LeftOut,
  MOST_NAMED,
  type SinceOrigin,
  type Snapshot,
  type Tampered,
} from '../../domain/snapshots.ts'
import { shownPath } from '../../lib/git-objects.ts'
import { processMask } from '../../masking/process-mask.ts'
import { compareTrees } from '../../snapshots/compare-trees.ts'
import { type FilesOf, MAX_FILE_BYTES, WITHIN_MS } from '../../snapshots/run-files.ts'
import type { Questions } from '../../workspace/protocol.ts'
import { describeProblem } from '../../workspace/workspace-process.ts'
import { orWarn, Protection, type ProtectionDeps } from './protection.ts'
import type { RunSession } from './session.ts'

/**
 * How large all packs of a run may be. After that, only hashes are kept: trees, up to another limit. Nobody can raise it, because it
 * guards the disk of the server from those who start runs.
 */
const MAX_KEPT_BYTES = 256_000_000
const MAX_WITH_TREES_BYTES = 2 * MAX_KEPT_BYTES
const SALT_BYTES = 16

/** Where the objects and lists of snapshots are kept. All reject if that fails. */
export type KeepObjects = {
  /** Keeps a pack without the objects that were redacted; null if nothing else is in it. */
  readonly keepPack: (
    pack: Buffer,
  ) => Promise<{ readonly sha256: string; readonly bytes: number } | null>
  /** Keeps a list, unless it was redacted. */
  readonly keepArtifact: Artifacts['put']
  readonly readArtifact: Artifacts['read']
}

/** A list of what was left out, as it is kept: a name may hold a secret. */
const masked = (list: Buffer): string =>
  JSON.stringify(
    JSON.parse(list.toString(), (_, value: unknown) =>
      typeof value === 'string' ? processMask.text(value) : value,
    ),
  )

type Deps = ProtectionDeps & { readonly effects: KeepObjects & { readonly filesOf: FilesOf } }

/**
 * Snapshots of the project of a run, while this process works on it. What cannot be kept now, because the workspace or the
 * place of artifacts fails, is in the next snapshot.
 */
export class Snapshots {
  readonly protection: Protection
  readonly #deps: Deps
  /** What was left out of the last one that this process made, as JSON; null before that. */
  #leftOut: string | null = null

  constructor(deps: Deps) {
    this.#deps = deps
    this.protection = new Protection(deps)
  }

  /** What the last snapshot that this process made has left out; nothing before that. */
  get leftOut(): readonly LeftOut[] {
    return JSON.parse(this.#leftOut ?? '[]')
  }

  /** A snapshot whose objects are kept; null if nothing has changed since the last one, or none can be made now. */
  take(): Promise<Snapshot | null> {
    return orWarn(this.#deps, 'no snapshot of the project was made', () => this.#take())
  }

  async #take(): Promise<Snapshot | null> {
    const { snapshot: last } = this.#deps.session.state
    const salt = last?.salt ?? randomBytes(SALT_BYTES).toString('hex')
    const leftOf = (limit: number): number => Math.max(0, limit - (last?.keptBytes ?? 0))
    const made = await this.#ask('snapshot', {
      maxFileBytes: MAX_FILE_BYTES,
      salt,
      maxBytes: leftOf(MAX_KEPT_BYTES),
      maxTreeBytes: leftOf(MAX_WITH_TREES_BYTES),
    })
    const { tree, files, bytes, left_out, left_out_count: count, unkept, body } = made
    const leftOut = left_out === null ? body.toString() : JSON.stringify(left_out)
    const isSame = last?.tree === tree && (this.#leftOut ?? leftOut) === leftOut
    // If it is the last one of another process, that has kept its objects. The program must learn that all the same.
    const packs = await this.#packs(made.packs, !isSame)
    this.#leftOut = leftOut
    if (isSame) return null
    const { keepArtifact } = this.#deps.effects
    const snapshot = {
      tree,
      files,
      bytes,
      packs,
      left_out: left_out ?? { count, sha256: await keepArtifact(masked(body)) },
      ...(leftOut.includes('"commitment":') ? { salt } : {}),
      ...present({ unkept, protected: await this.protection.first() }),
    }
    const since = await sinceOrigin(this.#deps.session, snapshot, this.#deps.effects.filesOf)
    return { ...snapshot, ...present({ since_origin: since }) }
  }

  async #packs(count: number, isKept: boolean): Promise<Snapshot['packs']> {
    const packs: Snapshot['packs'] = []
    for (let number = 0; number < count; number += 1) {
      const { body } = await this.#ask('pack', { number })
      const kept = isKept ? await this.#deps.effects.keepPack(body) : null
      if (kept !== null) packs.push(kept)
    }
    return packs
  }

  /** @throws Error if there is no answer */
  async #ask<Name extends 'snapshot' | 'pack'>(name: Name, question: Questions[Name]) {
    const { files, signal } = this.#deps
    const answer = await files.ask(name, question, { signal, withinMs: WITHIN_MS })
    if (answer.isErr()) throw new Error(describeProblem('.', answer.error.problem))
    return answer.value
  }
}

/**
 * What others have done to the files since the last snapshot of the run that this one continues, by the first snapshot of
 * this one. Null if nothing, or if that is not known. Rejects as `filesOf` does.
 */
async function sinceOrigin(
  { state: { origin, snapshot, iteration } }: Pick<RunSession, 'state'>,
  first: Snapshot,
  filesOf: FilesOf,
): Promise<SinceOrigin | null> {
  if (origin?.kind !== 'continue' || snapshot !== undefined || iteration > 0) return null
  const files = await filesOf(origin.run_id, [{ seq: Number.POSITIVE_INFINITY, snapshot: first }])
  const last = files?.snapshots.findLast(({ seq }) => seq <= origin.seq)?.snapshot
  if (files === null || last === undefined) return null
  const found = await compareTrees(last.tree, first.tree, async (id) => files.tree(id))
  const changes = [
    ...found.changes.flatMap(({ path, oldPath, status }): Tampered[] =>
      status === 'renamed'
        ? [
            { path: shownPath(oldPath ?? ''), change: 'deleted' },
            { path: shownPath(path), change: 'added' },
          ]
        : [{ path: shownPath(path), change: status }],
    ),
    ...found.unknown.map((path): Tampered => ({ path: shownPath(path), change: 'modified' })),
  ]
  if (changes.length === 0) return null
  const inOrder = changes.toSorted((a, b) => (a.path < b.path ? -1 : 1))
  return { count: changes.length, files: inOrder.slice(0, MOST_NAMED) }
}
