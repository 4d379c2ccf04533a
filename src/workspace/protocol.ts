import * as z from 'zod'
import { Sha256 } from '../domain/fields.ts'
import { LeftOut, type ProtectedQuestion, Unkept } from '../domain/snapshots.ts'
import type { EntryMode } from '../lib/git-objects.ts'

/** The content that a file must have before it is changed: its SHA-256; null if there must be no file. */
export type Expected = string | null

/** What is to be at a path: as many bytes of the body, after those of the files before it; null: nothing. */
export type InBody = { readonly path: string; readonly bytes: number | null }

export type WantedFile = InBody & {
  /** Left out: whatever is there. */
  readonly expected?: Expected
  /** The mode of a new file. A file that exists keeps its mode. */
  readonly mode?: number
}

/** How lines are searched for, with `grep -E`. */
export type Pattern = {
  readonly pattern: string
  readonly ignoreCase?: boolean
}

export type Grep = Pattern & {
  readonly output: 'lines' | 'files' | 'counts'
  /** Lines that are shown before and after each match. */
  readonly context: number
}

export type Search = {
  /** The folder that is searched, or, for lines, also a file. */
  readonly path: string
  /** Relative to that folder. */
  readonly glob: string
  /** Files to list at most. */
  readonly limit: number
  readonly hidden: boolean
  readonly ignored: boolean
  /** Lines are searched for in the files, which are not listed. */
  readonly grep?: Grep
}

/** A file of a copy. Its path, from the copy, has the bytes of its names, each as one character, as in trees. */
export type CopiedFile = InBody & {
  /** Left out: `100644`. */
  readonly mode?: EntryMode
}

/** A file or a link as trees have it; null: nothing. */
export type CarriedState = { readonly mode: string; readonly id: string } | null

/** What a path, which is like one of a copy but from the project, is known to have been, and what it is to be. */
export type CarriedPath = InBody & {
  readonly from: readonly CarriedState[]
  readonly to: CarriedState
}

/** What the program of a workspace is asked, by the name of the question. All paths are from the project. */
export type Questions = {
  /** `isToWrite`: it is refused if the file could not be written. */
  readonly read: {
    readonly path: string
    readonly bytes: number
    readonly isToWrite?: boolean
  }
  /** Where paths lead. `isToWrite`: those are refused that could not be written. */
  readonly resolve: { readonly paths: readonly string[]; readonly isToWrite?: boolean }
  /** Small text files of these names in the folders from the root of the repository down to the project. */
  readonly documents: { readonly names: readonly string[]; readonly maxBytes: number }
  /** Whether something is there, also where links lead out of the project. */
  readonly existing: { readonly paths: readonly string[] }
  readonly list: { readonly path: string; readonly limit: number }
  readonly yaml: { readonly path: string; readonly maxBytes: number }
  /** What failed, by the body: what tools print for people. */
  readonly report: Readonly<Record<string, never>>
  readonly search: Search
  /** Searches the body. */
  readonly grep: Pattern
  readonly git: { readonly show: 'status' | 'diff' | 'log' }
  /** All of these files are changed, or none. */
  readonly change: { readonly files: readonly WantedFile[] }
  readonly rename: { readonly path: string; readonly to: string; readonly overwrite: boolean }
  readonly remove: { readonly path: string }
  /** The files of the project as a tree of git. The one who asks fetches all packs before the next snapshot. */
  readonly snapshot: {
    /** A larger file is left out. */
    readonly maxFileBytes: number
    /** How many bytes of contents the packs may hold; of what is beyond that, only the ids are kept. */
    readonly maxBytes: number
    /** With how many bytes they may hold trees, which name those ids. Left out: the same. */
    readonly maxTreeBytes?: number
    /** For commitments to secrets, hex: the same for all snapshots of a run. */
    readonly salt: string
    /** How many files are looked at, and as many folders. Left out: 200,000. */
    readonly maxFiles?: number
    /** The folder that a copy is of: the rules above that one count, and not those above the copy. */
    readonly copyOf?: string
  }
  /** A hash over all that is at each path, with all links as they are. */
  readonly hashes: {
    readonly paths: readonly string[]
    /** Of each path. */
    readonly maxFiles: number
    readonly maxBytes: number
    /** For all of them together, in milliseconds. */
    readonly withinMs: number
  }
  /** Makes a copy of the project in a folder, in which nothing is yet. */
  readonly copy: {
    readonly to: string
    /** Paths that are not copied, as `left_out` of a snapshot has them. */
    readonly skip: readonly string[]
    /** As many bytes as the files say that they have. */
    readonly maxBytes: number
    /** What must be left free on the disk, in bytes. */
    readonly freeBytes: number
  }
  /** Makes files of the copy what is given, and all folders above them folders. */
  readonly put: { readonly to: string; readonly files: readonly CopiedFile[] }
  /**
   * Makes all of these paths what they are to be, or none, if no content at any of them is another one than is known. What one program
   * has changed belongs together: the first question that finds something else puts all of it back.
   */
  readonly carry: {
    readonly files: readonly CarriedPath[]
    /** It only says what is there. */
    readonly isLook: boolean
  }
  /** Makes a branch whose commit, on top of HEAD, has the changes of the patch in the body. Nothing else of the repository changes. */
  readonly branch: { readonly name: string; readonly message: string; readonly isLook: boolean }
  /** A pack of the last snapshot, by its number, from 0. It is the body of the answer. */
  readonly pack: { readonly number: number }
  /** The protected files in the last snapshot, which the body of the answer lists. The body: their list at the beginning of the run. */
  readonly protected: ProtectedQuestion
}
export type QuestionName = keyof Questions

/** Why a path of the project cannot be used, each as the rest of a sentence about it. */
export const PATH_PROBLEMS = {
  outside_project:
    'is outside the project. Paths must stay inside it, also through symbolic links.',
  not_found: 'does not exist.',
  is_folder: 'is a folder, not a file.',
  not_empty: 'is a folder that is not empty.',
  not_a_folder: 'is not a folder, or leads through something that is not a folder.',
  not_a_file: 'is not a regular file.',
  no_access: 'cannot be used: permission denied.',
  exists: 'exists already. Nothing was changed.',
  guarded:
    'cannot be changed by tools, because git or this server obeys it. If it must change, a person has to do that.',
  changed_meanwhile: 'was changed or replaced while it was used. Nothing was done.',
  into_itself: 'cannot be moved into itself.',
  same_path: 'is both paths. Nothing was changed.',
} as const
const named = Object.keys(PATH_PROBLEMS) as (keyof typeof PATH_PROBLEMS)[]

export const PathProblem = z.discriminatedUnion('type', [
  z.object({ type: z.enum(named) }),
  z.object({ type: z.literal('dangling_link'), link: z.string() }),
  z.object({ type: z.literal('too_large'), maxBytes: z.int() }),
  z.object({ type: z.literal('unusable'), message: z.string() }),
])
export type PathProblem = z.infer<typeof PathProblem>

/** A path through no link, which may name something that does not exist; `shown` is relative to the project. */
const Place = z.object({
  real: z.string(),
  shown: z.string(),
  kind: z.enum(['file', 'folder', 'other', 'nothing']),
})
export type Place = z.infer<typeof Place>

/**
 * What grep or git printed is the body. `isCut`: it printed more than is kept. If the repository is not read, that is printed, and
 * the exit code is that of git for such a case.
 */
const Ran = z.object({ exitCode: z.int(), stderr: z.string(), isCut: z.boolean() })

const count = z.int().nonnegative()
/** What the output of a tool says. */
const Report = z.object({
  /** A test is counted in exactly one of the numbers. Null: there are no totals of tests. */
  counts: z
    .object({
      passed: count,
      failed: count,
      skipped: count,
      /** Tests that are expected to fail and did fail. */
      expectedFailures: count,
    })
    .nullable(),
  /** The names of all tests that passed or failed; null if they are not known. */
  tests: z.array(z.string()).nullable(),
  /** The names of failed tests that are known. */
  failures: z.array(z.string()),
  /** How many errors with a place were printed, the first of them, and the lines from there on. */
  errors: count,
  error: z.string(),
  excerpt: z.string(),
})
export type Report = z.infer<typeof Report>

/** What the answers to the questions hold. Another program wrote them, so each is checked. */
export const ANSWERS = {
  read: z.object({ shown: z.string(), size: z.number().min(0), mode: z.int() }),
  resolve: z.object({ places: z.array(z.union([Place, z.object({ problem: PathProblem })])) }),
  /** `folder`: from the root of the repository. */
  documents: z.object({
    folders: z.array(z.object({ folder: z.string(), texts: z.array(z.string().nullable()) })),
  }),
  existing: z.object({ existing: z.array(z.boolean()) }),
  list: z.object({
    entries: z.array(
      z.object({
        name: z.string(),
        kind: z.enum(['file', 'folder', 'link', 'other', 'gone']),
        size: z.number().optional(),
        target: z.string().optional(),
      }),
    ),
    more: z.boolean(),
  }),
  /** The content, or what is wrong with the text, for people. */
  yaml: z.union([z.object({ problem: z.string() }), z.object({ value: z.unknown() })]),
  report: Report,
  /** `unopened`: how many files and folders could not be opened. */
  search: z.object({ unopened: z.int(), isTree: z.boolean(), shown: z.string() }).extend(Ran.shape),
  grep: Ran,
  git: Ran,
  change: z.object({
    done: z.array(
      z.object({ change: z.enum(['created', 'replaced', 'deleted']), shown: z.string() }),
    ),
  }),
  rename: z.object({ shown: z.string(), shownTo: z.string() }),
  remove: z.object({ shown: z.string(), wasFolder: z.boolean() }),
  snapshot: z.object({
    tree: Sha256,
    files: count,
    bytes: count,
    /** In the order of paths; null if there are more than a record holds: then the body is the list, as JSON. */
    left_out: z.array(LeftOut).nullable(),
    left_out_count: count,
    /** How many packs hold the objects that no earlier pack of this program holds. */
    packs: count,
    unkept: Unkept.nullable(),
  }),
  /**
   * In the order of the paths; null: nothing is there, it is too large, or it could not be read. `caches`: what they do not cover,
   * because tools change it whenever they run, as bytes of paths.
   */
  hashes: z.object({ hashes: z.array(Sha256.nullable()), caches: z.array(z.string()) }),
  /** `left`: what could not be read or is no file, folder or link; 100 paths at most. */
  copy: z.object({ files: count, bytes: count, left: z.array(z.string()) }),
  put: z.looseObject({}),
  /** In the order of the files. `due`: it is as it is known; `done`: it is as it is to be; `other`: it is something else. */
  carry: z.object({ found: z.array(z.enum(['due', 'done', 'other'])) }),
  /** The commit, or why there is none: by the paths at which HEAD has something else, or as a sentence. */
  branch: z.object({
    commit: z.string().nullable(),
    conflicts: z.array(z.string()),
    problem: z.string().nullable(),
  }),
  pack: z.looseObject({}),
  protected: z.object({ count }),
} satisfies Record<QuestionName, z.ZodType>

export type Answers = { readonly [Name in QuestionName]: z.infer<(typeof ANSWERS)[Name]> }
/** An answer with its body, as the program makes it. Left out: it has none. */
export type Served<Name extends QuestionName> = Answers[Name] & { readonly body?: Buffer }

/** The number of the first message of the program, which answers no question. */
export const READY = 0

/** The head of an answer. `path`: which of several paths has the problem. */
export const AnswerHead = z.union([
  z.object({ id: z.int(), problem: PathProblem, path: z.string().optional() }),
  z.object({ id: z.int(), answer: z.unknown() }),
])
export type AnswerHead = z.infer<typeof AnswerHead>
