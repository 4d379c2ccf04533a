import { buffer } from 'node:stream/consumers'
import { err, ok, type Result } from 'neverthrow'
import type { ArtifactSource } from '../artifacts/artifacts.ts'
import type { Snapshot } from '../domain/snapshots.ts'
import { decodeTree, EMPTY_TREE, type GitObject, type TreeEntry } from '../lib/git-objects.ts'
import { readPack } from '../lib/git-pack.ts'
import { type LoadError, recordPages } from '../log/run-log.ts'
import type { StreamReader } from '../log/stream-pages.ts'

/** A snapshot, and the seq of its record. */
export type SnapshotAt = { readonly seq: number; readonly snapshot: Snapshot }

/** Larger files are not in a tree; their hash and size are named beside it. */
export const MAX_FILE_BYTES = 5_000_000
/** How long a snapshot may take: of a project of 100,000 files on a busy disk. */
export const WITHIN_MS = 120_000

/**
 * The files of a run as its snapshots have them, and further snapshots; null if the log cannot be read. Rejects if the place
 * of the artifacts cannot be read now.
 */
export type FilesOf = (runId: string, more?: readonly SnapshotAt[]) => Promise<RunFiles | null>

/** The snapshots of a run, oldest first. After a rollback, the files are those of the snapshot that it went back to. */
export async function snapshotsOf(
  store: StreamReader,
  runId: string,
): Promise<Result<readonly SnapshotAt[], LoadError>> {
  const found: SnapshotAt[] = []
  for await (const page of recordPages(store, runId)) {
    if (page.isErr()) return err(page.error)
    for (const { seq, record } of page.value) {
      if (record.kind === 'snapshot') found.push({ seq, snapshot: record.payload })
      if (record.kind !== 'files_rolled_back') continue
      const there = found.find((one) => one.seq === record.payload.to)
      if (there !== undefined) found.push({ seq, snapshot: there.snapshot })
    }
  }
  return ok(found)
}

/**
 * The files of a run as its snapshots have them. It reads each pack once to learn what is in it, and keeps the trees; the
 * content of a file is read from its pack when it is asked for.
 */
export class RunFiles {
  /** Oldest first. */
  readonly snapshots: readonly SnapshotAt[]
  readonly #artifacts: ArtifactSource
  readonly #trees = new Map<string, Buffer>()
  /** The pack of each blob. */
  readonly #packs = new Map<string, string>()
  #last: { readonly pack: string; readonly objects: readonly GitObject[] } | null = null

  private constructor(snapshots: readonly SnapshotAt[], artifacts: ArtifactSource) {
    this.snapshots = snapshots
    this.#artifacts = artifacts
  }

  /**
   * Rejects if the place of the artifacts cannot be read now. A pack that is missing or damaged holds nothing.
   * @param packsOf the packs that may hold what is kept of one
   */
  static async open(
    snapshots: readonly SnapshotAt[],
    artifacts: ArtifactSource,
    packsOf: (sha256: string) => readonly string[],
  ): Promise<RunFiles> {
    const files = new RunFiles(snapshots, artifacts)
    const named = snapshots.flatMap(({ snapshot }) => snapshot.packs.map(({ sha256 }) => sha256))
    const names = new Set(named.flatMap(packsOf))
    for (const name of names) {
      for (const { id, type, content } of await objectsOf(name, artifacts)) {
        if (type === 'tree') files.#trees.set(id, content)
        else files.#packs.set(id, name)
      }
    }
    return files
  }

  /** The entries of a folder; null if its object is not kept. */
  tree(id: string): readonly TreeEntry[] | null {
    const content = id === EMPTY_TREE ? Buffer.alloc(0) : this.#trees.get(id)
    return content === undefined ? null : decodeTree(content)
  }

  /** Whether the content of a file is kept. */
  holds(id: string): boolean {
    return this.#packs.has(id)
  }

  /** The content of a file; null if its object is not kept. Rejects if the place of the artifacts cannot be read now. */
  async blob(id: string): Promise<Buffer | null> {
    const pack = this.#packs.get(id)
    if (pack === undefined) return null
    // Files that are asked for one after the other are mostly in one pack.
    if (this.#last?.pack !== pack) {
      this.#last = { pack, objects: await objectsOf(pack, this.#artifacts) }
    }
    return this.#last.objects.find((object) => object.id === id)?.content ?? null
  }

  /** As `entryAt`. */
  find(tree: string, path: string): TreeEntry | null | undefined {
    return entryAt((id) => this.tree(id), tree, path)
  }
}

/** Gives the entries of a folder; null if its tree is not available. */
export type ReadTree = (id: string) => readonly TreeEntry[] | null

/** What is at a path of a tree, given as bytes; null if nothing is, undefined if that is not known. */
export function entryAt(
  readTree: ReadTree,
  tree: string,
  path: string,
): TreeEntry | null | undefined {
  let at: TreeEntry = { mode: '40000', name: '', id: tree }
  for (const name of path.split('/')) {
    if (at.mode !== '40000') return null
    const entries = readTree(at.id)
    if (entries === null) return undefined
    const next = entries.find((entry) => entry.name === name)
    if (next === undefined) return null
    at = next
  }
  return at
}

async function objectsOf(pack: string, artifacts: ArtifactSource) {
  const found = await artifacts.read(pack)
  if (found === null) return []
  return readPack(await buffer(found.stream)).unwrapOr([])
}
