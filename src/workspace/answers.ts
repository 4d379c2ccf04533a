import * as z from 'zod'
import type { QuestionName } from './questions.ts'

/** Why a path of the project cannot be used. */
export const PathProblem = z.discriminatedUnion('type', [
  z.object({
    type: z.enum([
      'outside_project',
      'not_found',
      'is_folder',
      'not_empty',
      'not_a_folder',
      'not_a_file',
      'no_access',
      'exists',
      /** git or this server obeys it. */
      'guarded',
      /** Something else was put at the path, or the file was changed, while it was used. */
      'changed_meanwhile',
      /** A folder would be moved into itself. */
      'into_itself',
      'same_path',
    ]),
  }),
  z.object({ type: z.literal('dangling_link'), link: z.string() }),
  z.object({ type: z.literal('too_large'), maxBytes: z.int() }),
  z.object({ type: z.literal('unusable'), message: z.string() }),
])
export type PathProblem = z.infer<typeof PathProblem>

/** Why the repository of a project is not read. */
const GitProblem = z.discriminatedUnion('type', [
  z.object({ type: z.literal('no_repository') }),
  /** A part of it leads out of the folder that holds it. */
  z.object({ type: z.literal('leads_outside'), what: z.string() }),
  /** A part of it is in another repository, which does not name it as its worktree. */
  z.object({ type: z.literal('not_linked') }),
  z.object({ type: z.literal('unusable'), message: z.string() }),
])
export type GitProblem = z.infer<typeof GitProblem>

/** A path through no link, which may name something that does not exist; `shown` is relative to the project. */
const Place = z.object({
  real: z.string(),
  shown: z.string(),
  kind: z.enum(['file', 'folder', 'other', 'nothing']),
})
export type Place = z.infer<typeof Place>

const LeftOut = z.object({
  ignored: z.int(),
  hidden: z.int(),
  /** Files of rules that were not obeyed. */
  tooLarge: z.int(),
  /** Files and folders that could not be opened. */
  unopened: z.int(),
})
export type LeftOut = z.infer<typeof LeftOut>

/** What grep or git printed is the body. `isCut`: it printed more than is kept. */
const Ran = z.object({ exitCode: z.int(), stderr: z.string(), isCut: z.boolean() })

/** What the answers to the questions hold. Another program wrote them, so each is checked. */
export const ANSWERS = {
  read: z.object({ shown: z.string(), size: z.number().min(0), mode: z.int() }),
  resolve: z.object({ places: z.array(z.union([Place, z.object({ problem: PathProblem })])) }),
  texts: z.object({ texts: z.array(z.string().nullable()) }),
  changed: z.object({ changed: z.array(z.string().nullable()) }),
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
  search: z.object({ left: LeftOut, isTree: z.boolean(), shown: z.string() }).extend(Ran.shape),
  grep: Ran,
  git: z.union([z.object({ problem: GitProblem }), Ran]),
  change: z.object({
    done: z.array(
      z.object({ change: z.enum(['created', 'replaced', 'deleted']), shown: z.string() }),
    ),
  }),
  rename: z.object({ shown: z.string(), shownTo: z.string() }),
  remove: z.object({ shown: z.string(), wasFolder: z.boolean() }),
} satisfies Record<QuestionName, z.ZodType>

export type Answers = { readonly [Name in QuestionName]: z.infer<(typeof ANSWERS)[Name]> }

/** The head of an answer. `path`: which of several paths has the problem. */
export const AnswerHead = z.union([
  z.object({ id: z.int(), problem: PathProblem, path: z.string().optional() }),
  z.object({ id: z.int(), answer: z.unknown() }),
])
export type AnswerHead = z.infer<typeof AnswerHead>
