import * as z from 'zod'
import { Sha256 } from './fields.ts'

const count = z.int().nonnegative()

/** Why something of the project is not in the tree of a snapshot. */
const LeftOutReason = z.enum([
  /** By the rules of `grep_search`; an ignored folder is one entry. */
  'ignored',
  /** A repository within the project. */
  'repository',
  'device',
  'socket',
  'large',
  /** A file whose name says that it holds a secret. */
  'secret',
  /** It could not be read, or was changed each time it was read. */
  'unreadable',
  /** The project has too many files. */
  'limit',
])

/** Something of the project that is not in the tree of a snapshot. */
export const LeftOut = z
  .strictObject({
    /** From the project; bytes that are not UTF-8 are U+FFFD. */
    path: z.string(),
    why: LeftOutReason,
    /** What the HEAD of a repository names. */
    commit: z.string().exactOptional(),
    /** Of a large file, in bytes, and the hash of its content. */
    size: count.exactOptional(),
    sha256: Sha256.exactOptional(),
    /** Of a secret: it shows whether the content is the same as in another snapshot of the run, and nothing else. */
    commitment: Sha256.exactOptional(),
  })
  .readonly()
export type LeftOut = z.infer<typeof LeftOut>

/** A list that an artifact holds, as JSON. */
const ListArtifact = z.strictObject({ count, sha256: Sha256 }).readonly()

/** What Python runs in place of a test, if somebody has made it look as if it came from that. No check in a copy has it. */
export const BYTECODE = /(?:^|\/)__pycache__\/[^/]*\.pyc$/

/** A protected file that is not what it was in the first snapshot of the run. */
export const Tampered = z
  .strictObject({
    /** As in `LeftOut`. */
    path: z.string(),
    /** A new test is no change. `mode`: only whether it is executable. */
    change: z.enum(['added', 'modified', 'deleted', 'mode']),
  })
  .readonly()
export type Tampered = z.infer<typeof Tampered>

/** A file that decides what a check finds: its tests, the configuration of its tools, and its own scripts. */
export const ProtectedFile = z
  .strictObject({
    /** As in `LeftOut`. */
    path: z.string(),
    /** Its bytes (latin1), if they are not the UTF-8 of `path`. */
    bytes: z.string().exactOptional(),
    /** As in a tree of git. */
    mode: z.string(),
    /**
     * That of its object in the tree; of a file with dependencies among its settings, such as package.json, a hash of the rest.
     * Of a file that is left out: its hash or commitment. Null if the check itself changes the file, or if tools make it, and no copy gets it.
     */
    id: z.string().nullable(),
    /** A test, or data of tests: others may be added. */
    test: z.literal(true).exactOptional(),
  })
  .readonly()
export type ProtectedFile = z.infer<typeof ProtectedFile>

/** Globs of tests, and of all others that are protected. */
const globs = { tests: z.array(z.string()).readonly(), others: z.array(z.string()).readonly() }

/** Which files are protected. */
export type ProtectedQuestion = {
  readonly [Name in keyof typeof globs]: readonly string[]
} & {
  /** The commands of the check. Scripts that they name are protected, too. */
  readonly texts: readonly string[]
}

/** The protected files at the beginning of a run, in the order of their paths: the artifact that its first snapshot names. */
export const ProtectedFiles = z
  .strictObject({ ...globs, files: z.array(ProtectedFile).readonly() })
  .readonly()
export type ProtectedFiles = z.infer<typeof ProtectedFiles>

/** What has become of the protected files, in the order of their paths. Tests that are new are not named. */
export function tamperingBetween(
  before: readonly ProtectedFile[],
  now: readonly ProtectedFile[],
): readonly Tampered[] {
  const keyOf = ({ bytes, path }: ProtectedFile): string => bytes ?? path
  const old = new Map(before.map((file) => [keyOf(file), file]))
  const found = now.flatMap((file): Tampered[] => {
    const { path, mode, id, test } = file
    const was = old.get(keyOf(file))
    old.delete(keyOf(file))
    if (was === undefined) return test === true || id === null ? [] : [{ path, change: 'added' }]
    if (was.id === null) return []
    if (was.id !== id) return [{ path, change: 'modified' }]
    return was.mode === mode ? [] : [{ path, change: 'mode' }]
  })
  const gone = [...old.values()].flatMap(({ path, id }): Tampered[] =>
    id === null ? [] : [{ path, change: 'deleted' }],
  )
  return [...found, ...gone].toSorted((a, b) => (a.path < b.path ? -1 : 1))
}

/** The most files that are named as changed, and the most tests that are named as gone. */
export const MOST_NAMED = 100

/** The most entries of `left_out` that a record holds itself. */
export const MOST_LEFT_OUT = 200

/** Objects of which only the ids are known, because their run has reached its limit, and the bytes of their contents. */
export const Unkept = z.strictObject({ objects: count, bytes: count }).readonly()

/** What others have done to the files between two runs: how much, and the first in the order of their paths. */
export const SinceOrigin = z
  .strictObject({ count, files: z.array(Tampered).max(MOST_NAMED).readonly() })
  .readonly()
export type SinceOrigin = z.infer<typeof SinceOrigin>

/** The files of a project at one moment. */
export const Snapshot = z.strictObject({
  /** The id of a git tree in the SHA-256 object format, over the bytes, modes and links of all files in it. */
  tree: Sha256,
  files: count,
  /** Of all files together. */
  bytes: count,
  /** In the order of the paths. If there are many, an artifact holds the list, as JSON. */
  left_out: z.union([z.array(LeftOut), ListArtifact]),
  /**
   * Of the first snapshot: the protected files of the goal, as `ProtectedFiles`. Left out if its checks protect none. The snapshot after
   * the first check has it, too, if the check itself has changed some.
   */
  protected: ListArtifact.exactOptional(),
  /** With what the commitments in `left_out` were made; the same in all snapshots of a run. */
  salt: z.string().exactOptional(),
  /** The artifacts with the objects that no earlier snapshot of the run has kept: packs of git. */
  packs: z.array(z.strictObject({ sha256: Sha256, bytes: count }).readonly()),
  unkept: Unkept.exactOptional(),
  /** Of the first snapshot of a run that continues another one: what it has not as the last snapshot of that. Left out if nothing. */
  since_origin: SinceOrigin.exactOptional(),
})
export type Snapshot = z.infer<typeof Snapshot>

/** The most files and bytes of something that is hashed whole; and how long all of it may take. */
export const MOST_HASHED = { files: 200_000, bytes: 4_000_000_000, ms: 60_000 } as const

/** A hash over all that is at a path, as the id of a git tree or file without any rules; null if it has none. */
export const HashedPath = z
  .strictObject({
    path: z.string(),
    /** Null: it was too large, took too long, or could not be read. So it never counts as unchanged. */
    sha256: Sha256.nullable(),
  })
  .readonly()
export type HashedPath = z.infer<typeof HashedPath>

/** What the ignored files and the repositories within a project were, before the first call that could change them. */
export const LeftOutHashed = z.strictObject({
  /** In the order of the paths. If there are many, an artifact holds the list, as JSON. */
  entries: z.union([z.array(HashedPath), ListArtifact]),
})
export type LeftOutHashed = z.infer<typeof LeftOutHashed>
