import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { processMask } from '../../log/masking.ts'
import type { Answers, LeftOut } from '../../workspace/answers.ts'
import type { Search } from '../../workspace/questions.ts'
import type { Failure } from '../../workspace/workspace.ts'
import type { ToolContext } from './tool.ts'

/** The arguments of a tool by which a search also looks at what it leaves out otherwise. */
export const searchScope = {
  hidden: z
    .boolean()
    .optional()
    .describe('Whether files and folders that begin with a dot are searched; not if left out'),
  ignored: z
    .boolean()
    .optional()
    .describe(
      'Whether what .gitignore and .ignore name, and node_modules, is searched; not if left out',
    ),
}
export const SCOPE =
  'Leaves out what .gitignore, .git/info/exclude and .ignore name, node_modules, and names that begin with a dot, unless ' +
  '`ignored` or `hidden` is true; .git always.'

type Scope = { readonly hidden?: boolean | undefined; readonly ignored?: boolean | undefined }

type Found = Answers['search'] & {
  /** With secrets masked. */
  readonly printed: string
  /** What the search has left out, as a sentence; null if it left out nothing. */
  readonly leftOut: string | null
}

/** What a program printed, with secrets masked. Half a secret at its end would not be recognized as one. */
export function printedText(body: Buffer, isCut: boolean): string {
  if (!isCut) return processMask.text(body.toString())
  const pieces = processMask.pieces()
  return `${pieces.write(body.toString())}${pieces.cut()}\n[the rest is left out]`
}

/** Lists the files of the project that match a glob, or searches them. */
export async function searchFiles(
  wanted: Pick<Search, 'path' | 'glob' | 'limit' | 'grep'>,
  { hidden = false, ignored = false }: Scope,
  { workspace, signal }: Pick<ToolContext, 'workspace' | 'signal'>,
): Promise<Result<Found, Failure>> {
  const above = ignored ? [] : (await workspace.above()).map(({ rules }) => rules)
  const asked = { ...wanted, hidden, ignored, above }
  const answered = await workspace.ask('search', asked, { signal })
  if (answered.isErr()) return err(answered.error)
  const { body, ...found } = answered.value
  const { left, isTree } = found
  const printed = printedText(body, found.isCut)
  return ok({ ...found, printed, leftOut: isTree ? describeLeftOut(left) : null })
}

function describeLeftOut({ ignored, hidden, tooLarge, unopened }: LeftOut): string | null {
  const parts = [
    ...(ignored > 0 ? [`${ignored} ignored (\`ignored: true\` searches them)`] : []),
    ...(hidden > 0 ? [`${hidden} hidden (\`hidden: true\` searches them)`] : []),
    ...(unopened > 0 ? [`${unopened} that could not be opened`] : []),
  ]
  const sentences = [
    ...(parts.length > 0 ? [`Files and folders left out: ${parts.join(', ')}.`] : []),
    ...(tooLarge > 0
      ? [`Files of rules that are too large and were not obeyed: ${tooLarge}.`]
      : []),
  ]
  return sentences.length === 0 ? null : sentences.join(' ')
}

/** What a search answers that has found nothing. */
export const nothingBut = (nothing: string, leftOut: string | null): string =>
  leftOut === null ? nothing : `${nothing} [${leftOut}]`
