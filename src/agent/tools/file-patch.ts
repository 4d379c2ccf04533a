import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { readWhole, type WholeFile } from '../../workspace/read-file.ts'
import { changeFiles } from './change-files.ts'
import { splitLines } from './line-edits.ts'
import { failedBy } from './path-problem.ts'
import { projectPath } from './project-path.ts'
import { changedLines, nearestPlace } from './show-lines.ts'
import { type Edit, type EditProblem, editText } from './text-edits.ts'
import { defineTool, failed, succeeded, type ToolContext, type ToolOutput } from './tool.ts'

const MAX_BYTES = 16 * 1024 * 1024
const MAX_EDITS = 100

/** A text file as it is. */
export type TextFile = Omit<WholeFile, 'content'> & { readonly text: string }

/** Reads a whole text file that is to be changed. The error is the result of the call. */
export async function readText(
  path: string,
  { workspace, signal }: Pick<ToolContext, 'workspace' | 'signal'>,
): Promise<Result<TextFile, ToolOutput>> {
  const read = await readWhole(workspace, { path, maxBytes: MAX_BYTES, isToWrite: true, signal })
  if (read.isErr()) {
    const isLarge = read.error.problem.type === 'too_large'
    const tooLarge = `${path} is too large to patch: it has more than ${MAX_BYTES} bytes.`
    return err(isLarge ? failed(tooLarge) : failedBy(path, read.error))
  }
  const { content, ...file } = read.value
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  try {
    return ok({ ...file, text: decoder.decode(content) })
  } catch {
    return err(failed(`${file.shown} is not a text file in UTF-8.`))
  }
}

const listOf = (lines: readonly number[]): string =>
  `line${lines.length === 1 ? '' : 's'} ${lines.slice(0, 10).join(', ')}${lines.length > 10 ? ', …' : ''}`

/** The message that lines are not in a file, with the place that is most like them. */
export function missOf(
  what: string,
  path: string,
  text: string,
  wanted: readonly string[],
): string {
  const unnumbered = /^\s*\d+\t(.+)/.exec(wanted[0] ?? '')?.[1]
  if (unnumbered !== undefined && text.includes(unnumbered)) {
    return `${what} has the line numbers that file_read shows, which are not in ${path}. Nothing was changed. Write the lines without number and tab.`
  }
  const nearest = nearestPlace(splitLines(text), wanted)
  const hint =
    nearest === null
      ? 'Nothing in the file is like it.'
      : `The nearest place (- is ${what}, + is the file, with its line numbers):\n${nearest}`
  return `${what} occurs 0 times in ${path}. Nothing was changed. ${hint}`
}

function describeEditProblem(path: string, text: string, edit: Edit, problem: EditProblem): string {
  switch (problem.type) {
    case 'same':
      return '"old" and "new" are the same. Nothing was changed.'
    case 'several': {
      const { lines, loosely } = problem
      const where = `${lines.length} times in ${path} (${listOf(lines)})${loosely ? ', without regard to spaces' : ''}`
      return `"old" occurs ${where}, but must occur exactly once. Include more of the text around the place, or set replace_all. Nothing was changed.`
    }
    case 'indented_otherwise':
      return `"old" occurs at line ${problem.line} of ${path} only with other levels of indentation, so that of "new" is not clear. Nothing was changed. Read the lines again and write them as they are.`
    case 'missing':
      return missOf(
        '"old"',
        path,
        text,
        splitLines(edit.old).map((line) => line.text),
      )
  }
}

type Patched = { readonly text: string; readonly said: readonly string[] }

/** Makes all edits, one after the other; the error is for the model. */
function patch(path: string, before: string, edits: readonly Edit[]): Result<Patched, string> {
  let text = before
  const said: string[] = []
  for (const [index, edit] of edits.entries()) {
    const edited = editText(text, edit)
    if (edited.isErr()) {
      const which = edits.length > 1 ? `Edit ${index + 1} of ${edits.length}: ` : ''
      return err(which + describeEditProblem(path, text, edit, edited.error))
    }
    const { lines, loosely } = edited.value
    const places =
      lines.length > 1 ? `${lines.length} times, at ${listOf(lines)}` : `at ${listOf(lines)}`
    const spaces = loosely
      ? '; it differed from "old" in spaces, and the new lines were indented like it'
      : ''
    said.push(`Replaced the text ${places} of ${path}${spaces}.`)
    text = edited.value.text
  }
  return ok({ text, said })
}

const old = z.string().min(1).describe('The text to replace, as it is in the file')
const fresh = z.string().describe('What to put in its place')
const replaceAll = z
  .boolean()
  .describe('Replace every occurrence; "old" must occur once if left out')

export const filePatch = defineTool({
  name: 'file_patch',
  description:
    'Replace text in a file of the project: "old" by "new", or several pieces at once by "edits", one after the other and all ' +
    'of them or none. "old" must occur exactly once (or set replace_all), so include lines around the place. Leave out ' +
    'the line numbers that file_read shows. Line ends of the file are kept. If whole lines differ only in the spaces around ' +
    'them, the place is taken if it is the only one, and the result reports that.',
  readOnly: false,
  args: z
    .strictObject({
      path: projectPath.describe('Relative to the project'),
      old: old.optional(),
      new: fresh.optional(),
      replace_all: replaceAll.optional(),
      edits: z
        .array(z.strictObject({ old, new: fresh, replace_all: replaceAll.optional() }))
        .min(1)
        .max(MAX_EDITS)
        .optional()
        .describe('Several edits, instead of "old" and "new"'),
    })
    .refine(
      ({ edits, ...one }) =>
        edits === undefined
          ? one.old !== undefined && one.new !== undefined
          : one.old === undefined && one.new === undefined,
      'give either "old" and "new", or "edits"',
    ),
  touches: ({ path }) => ({ paths: [path] }),
  run: async ({ path, edits, ...one }, context) => {
    const read = await readText(path, context)
    if (read.isErr()) return read.error
    const { text, shown, sha256: expected } = read.value
    const asked = (edits ?? [{ ...one }]).map(
      ({ old = '', new: fresh = '', replace_all = false }) => {
        return { old, new: fresh, replaceAll: replace_all }
      },
    )
    const patched = patch(shown, text, asked)
    if (patched.isErr()) return failed(patched.error)
    const written = await changeFiles([{ path, content: patched.value.text, expected }], context)
    if (written.isErr()) return failedBy(path, written.error)
    return succeeded(
      [...patched.value.said, changedLines(text, patched.value.text)].join('\n').trimEnd(),
    )
  },
})
