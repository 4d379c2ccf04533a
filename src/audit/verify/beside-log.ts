import { createHash } from 'node:crypto'
import type { ArtifactSource } from '../../artifacts/artifacts.ts'
import { decodeTree, EMPTY_TREE, shownPath } from '../../lib/git-objects.ts'
import { readPack } from '../../lib/git-pack.ts'
import { codeOf, messageOf } from '../../lib/message-of.ts'
import { type LoadedRun, streamOf } from '../../log/run-log.ts'
import type { RecordedEvent } from '../../store/event-store.ts'
import type { PayloadOf } from './read-record.ts'
import type { RedactionCheck } from './redaction-check.ts'
import { type Finding, finding } from './report.ts'

/** What a read model holds of one run. */
type ProjectedRun = {
  readonly seq: number
  /** The digest of everything that it holds of the run, as `digestOf` makes it. */
  readonly digest: string
}

/** What a read model holds of a log. */
export type Projected = {
  readonly runs: ReadonlyMap<string, ProjectedRun>
  /** The last event that is projected; null before the first. */
  readonly last: Pick<RecordedEvent, 'id' | 'stream' | 'revision' | 'position'> | null
  /** The digest of what a read model should hold of a run. */
  digestOf(run: LoadedRun): string
}

/** The place that findings about the read model name. */
export const READ_MODEL = 'read model'

/** Compares a read model with the log, while the log is read in order. */
export class ProjectedCheck {
  readonly #projected: Projected
  /** The streams of runs that were removed. The next start of a server removes them from the read model. */
  readonly #gone: ReadonlySet<string>
  readonly #findings: Finding[] = []
  readonly #met = new Set<string>()
  #reached: boolean

  constructor(projected: Projected, gone: ReadonlySet<string>) {
    const { last } = projected
    this.#projected = projected
    this.#gone = gone
    this.#reached = last === null || gone.has(last.stream)
  }

  /** Notes a run after a record that holds. */
  see(run: LoadedRun): void {
    const { runId, seq } = run.state
    const known = this.#projected.runs.get(runId)
    if (known?.seq !== seq) return
    this.#met.add(runId)
    if (known.digest === this.#projected.digestOf(run)) return
    this.#add('changed', `it differs from the log about run ${runId} as of record ${seq}`)
  }

  /** Notes an event that was read. @param runs those that hold, as of the event */
  reach(event: RecordedEvent, runs: () => Iterable<LoadedRun>): void {
    const { last } = this.#projected
    if (this.#reached || last === null || event.id !== last.id) return
    const { stream, revision, position } = last
    const here = event.stream === stream && event.revision === revision
    this.#reached = here && event.position === position
    for (const { state } of runs()) {
      const known = this.#projected.runs.get(state.runId)
      if (known === undefined) this.#add('missing', `it does not have run ${state.runId}`)
      else if (known.seq < state.seq) {
        const message = `it has run ${state.runId} only up to record ${known.seq} of ${state.seq}`
        this.#add('missing', message)
      }
    }
  }

  /** @param isBad whether a run does not hold in the log itself, which is reported elsewhere */
  findings(isBad: (runId: string) => boolean): Finding[] {
    if (!this.#reached) this.#add('changed', 'the log does not have the last record that it names')
    for (const [runId, { seq }] of this.#projected.runs) {
      if (this.#met.has(runId) || isBad(runId) || this.#gone.has(streamOf(runId))) continue
      this.#add('added', `it names record ${seq} of run ${runId}, which the log does not have`)
    }
    return this.#findings
  }

  #add(problem: Finding['problem'], message: string): void {
    this.#findings.push(finding(problem, READ_MODEL, message))
  }
}

/** The first record that names an artifact. `where` is its run, for people. */
export type NamedArtifact = { readonly where: string; readonly seq: number }

/** Recomputes the trees of all snapshots of a log from the objects in its packs. */
export class TreesCheck {
  readonly #snapshots: {
    readonly runId: string
    readonly seq: number
    readonly snapshot: PayloadOf<'snapshot'>
  }[] = []
  /** The runs that have reached their limit, so that not all of their objects are kept. */
  readonly #limited = new Set<string>()
  /** The artifacts that are packs, and those of them that were read. */
  readonly packs = new Set<string>()
  readonly #read = new Set<string>()
  readonly #trees = new Map<string, Buffer>()
  readonly #contents = new Set<string>()

  /** Notes a snapshot that holds. */
  see(runId: string, seq: number, snapshot: PayloadOf<'snapshot'>): void {
    if (snapshot.unkept !== undefined) this.#limited.add(runId)
    for (const { sha256 } of snapshot.packs) this.packs.add(sha256)
    if (!this.#limited.has(runId)) this.#snapshots.push({ runId, seq, snapshot })
  }

  /** Notes the objects of a pack, whose ids are computed. @returns what is wrong with it; null if nothing is */
  take(name: string, pack: Buffer): string | null {
    const read = readPack(pack)
    if (read.isErr()) return read.error
    this.#read.add(name)
    for (const { id, type, content } of read.value) {
      if (type === 'blob') this.#contents.add(id)
      // What was inflated is a part of a larger buffer.
      else if (!this.#trees.has(id)) this.#trees.set(id, Buffer.from(content))
    }
    return null
  }

  /** The objects that no pack has, each at the first place that names it. A lost pack is a finding of its own. */
  findings(redactions: RedactionCheck): Finding[] {
    const { removed, absent } = redactions.packs
    const found: Finding[] = []
    const known = new Set([EMPTY_TREE])
    for (const { runId, seq, snapshot } of this.#snapshots) {
      const isThere = ({ sha256 }: { readonly sha256: string }): boolean =>
        this.#read.has(sha256) || redactions.hasDeleted(sha256)
      if (absent.has(runId) || !snapshot.packs.every(isThere)) continue
      const open = [{ id: snapshot.tree, path: '', isFolder: true }]
      for (let next = open.pop(); next !== undefined; next = open.pop()) {
        const { id, path, isFolder } = next
        if (known.has(id) || removed.has(id)) continue
        known.add(id)
        const tree = isFolder ? this.#trees.get(id) : undefined
        for (const entry of (tree && decodeTree(tree)) ?? []) {
          const at = path === '' ? entry.name : `${path}/${entry.name}`
          open.push({ id: entry.id, path: at, isFolder: entry.mode === '40000' })
        }
        if (tree !== undefined || (!isFolder && this.#contents.has(id))) continue
        const of = path === '' ? 'the project' : JSON.stringify(shownPath(path))
        const message = `${of} in this snapshot, ${id}, is in no pack`
        found.push({ ...finding('missing', `run ${runId}`, message), seq })
      }
    }
    return found
  }
}

/** How many artifacts may be out of reach before the others are not looked for. */
const MAX_UNREACHABLE = 10

/**
 * Reads the artifacts that records name, and compares their contents with their names.
 * @param isDeleted whether a redaction deleted an artifact
 * @param trees gets the packs among them
 * @returns how many hold, and what is wrong with the others
 */
export async function verifyArtifacts(
  source: ArtifactSource,
  named: ReadonlyMap<string, NamedArtifact>,
  isDeleted: (name: string) => boolean,
  trees: TreesCheck,
): Promise<{ readonly held: number; readonly findings: readonly Finding[] }> {
  const findings: Finding[] = []
  let held = 0
  let unreachable = 0
  for (const [name, place] of named) {
    // After so many failures, nothing waits for the place any more.
    const problem: Problem | null =
      unreachable < MAX_UNREACHABLE
        ? await artifactProblem(source, name, trees)
        : { problem: 'unreachable', message: `its artifact ${name} was not looked for` }
    if (problem?.problem === 'unreachable') unreachable += 1
    if (problem?.problem === 'missing' && isDeleted(name)) continue
    if (problem === null) held += 1
    else findings.push({ ...problem, ...place })
  }
  return { held, findings }
}

type Problem = Pick<Finding, 'problem' | 'message'>

async function artifactProblem(
  artifacts: ArtifactSource,
  name: string,
  trees: TreesCheck,
): Promise<Problem | null> {
  try {
    const found = await artifacts.read(name)
    if (found === null) return { problem: 'missing', message: `its artifact ${name} is missing` }
    const hash = createHash('sha256')
    const isPack = trees.packs.has(name)
    const kept: Uint8Array[] = []
    for await (const chunk of found.stream) {
      hash.update(chunk)
      if (isPack) kept.push(chunk)
    }
    if (hash.digest('hex') !== name) {
      return { problem: 'changed', message: `its artifact ${name} has other contents` }
    }
    const why = isPack ? trees.take(name, Buffer.concat(kept)) : null
    return why === null
      ? null
      : { problem: 'changed', message: `its artifact ${name} is not a pack of git: ${why}` }
  } catch (cause) {
    if (codeOf(cause) === 'ELOOP') {
      return { problem: 'changed', message: `its artifact ${name} is a link to another file` }
    }
    const why = messageOf(cause)
    return { problem: 'unreachable', message: `its artifact ${name} cannot be read now: ${why}` }
  }
}
