import { err, ok, Result } from 'neverthrow'
import * as z from 'zod'
import type { Place } from '../../workspace/protocol.ts'
import type { FileChange } from '../../workspace/workspace.ts'
import { readText } from './file-write.ts'
import {
  applyHunk,
  changeLines,
  type Hunk,
  linesOf,
  missing,
  placesOf,
  several,
} from './text-edits.ts'
import {
  defineTool,
  failed,
  failedBy,
  placeOf,
  succeeded,
  type ToolContext,
  type ToolOutput,
} from './tool.ts'

/** A part of a file that changes. */
type Part = {
  /** Lines above it, from the outermost: they say which of several places is meant. */
  readonly headers: readonly string[]
  readonly hunk: Hunk
}

/** What a patch does with a file. */
type PatchedFile =
  | { readonly type: 'add'; readonly path: string; readonly content: string }
  | { readonly type: 'delete'; readonly path: string }
  | {
      readonly type: 'update'
      readonly path: string
      /** Its new path; null if it stays where it is. */
      readonly to: string | null
      readonly parts: readonly Part[]
    }

const BEGIN = '*** Begin Patch'
const END = '*** End Patch'
const FILE = /^\*\*\* (Add|Update|Delete) File: ([^\0]+)$/
const MOVE = /^\*\*\* Move to: ([^\0]+)$/
/** The numbers of a unified diff, which some models write from habit. */
const NUMBERS = /^-\d+(?:,\d+)? \+\d+(?:,\d+)? @@ ?/

/** The part of a patch about one file: its first line, and those that follow, of which the first has this number. */
type Section = {
  readonly type: string
  readonly path: string
  readonly lines: string[]
  readonly first: number
}

/** Reads a patch in the format V4A; the error is a sentence for the model. */
export function parsePatch(input: string): Result<readonly PatchedFile[], string> {
  const lines = linesOf(input)
  const begin = lines.findIndex((line) => line.trim() === BEGIN)
  const end = lines.findLastIndex((line) => line.trim() === END)
  if (begin === -1) return err(`The patch must begin with the line "${BEGIN}".`)
  if (end === -1) return err(`The patch does not end with the line "${END}": it may be cut off.`)
  const sections: Section[] = []
  for (let at = begin + 1; at < end; at += 1) {
    const line = lines[at] ?? ''
    const [, type, path = ''] = FILE.exec(line) ?? []
    if (type !== undefined) sections.push({ type, path: path.trim(), lines: [], first: at + 2 })
    else if (sections.length > 0) sections.at(-1)?.lines.push(line)
    else if (line.trim() !== '') return err(mustBe(at + 1, BEGINNINGS))
  }
  if (sections.length === 0) return err('The patch names no file.')
  return Result.combine(sections.map(parseSection))
}

const BEGINNINGS = '"*** Update File: path", "*** Add File: path" or "*** Delete File: path"'
const mustBe = (line: number, what: string): string => `Line ${line} of the patch must be ${what}.`

function parseSection(section: Section): Result<PatchedFile, string> {
  const { type, path, first } = section
  if (type === 'Update') return parseUpdate(section)
  const lines = withoutBlankEnd(section.lines)
  const odd = lines.findIndex((line) => type === 'Delete' || !line.startsWith('+'))
  if (odd !== -1) {
    const what = type === 'Delete' ? BEGINNINGS : 'a line of the new file, with "+" before it'
    return err(mustBe(first + odd, what))
  }
  if (type === 'Delete') return ok({ type: 'delete', path })
  return ok({ type: 'add', path, content: lines.map((line) => `${line.slice(1)}\n`).join('') })
}

function parseUpdate({ path, lines, first }: Section): Result<PatchedFile, string> {
  const to = MOVE.exec(lines[0] ?? '')?.[1]?.trim() ?? null
  const parts: Part[] = []
  let headers: string[] = []
  let hunk: string[] = []
  const finish = (): void => {
    const ops = withoutBlankEnd(hunk).map((line) => {
      return { op: (line[0] ?? ' ') as Hunk[number]['op'], text: line.slice(1) }
    })
    if (ops.length === 0) return
    parts.push({ headers, hunk: ops })
    headers = []
    hunk = []
  }
  for (const [index, line] of lines.entries()) {
    if (index === 0 && to !== null) continue
    if (line.startsWith('@@')) {
      finish()
      const header = line.slice(2).trimStart().replace(NUMBERS, '')
      if (header !== '') headers.push(header)
    } else if (line.trim() === '*** End of File') finish()
    else if (line === '' || /^[ +-]/.test(line)) hunk.push(line)
    else return err(mustBe(first + index, 'a line with a space, "+", "-" or "@@" before it'))
  }
  finish()
  if (parts.length === 0 && to === null) return err(`The patch changes nothing in ${path}.`)
  return ok({ type: 'update', path, to, parts })
}

/** Without empty lines at the end: they separate the parts of a patch. */
const withoutBlankEnd = (lines: readonly string[]): readonly string[] =>
  lines.slice(0, lines.findLastIndex((line) => line !== '') + 1)

/** Applies the parts to a text, from its beginning to its end. The error is for the model. */
export const applyParts = (
  path: string,
  text: string,
  parts: readonly Part[],
): Result<string, string> =>
  changeLines(text, (before) => {
    let lines = before
    let from = 0
    for (const part of parts) {
      const place = placeIn(path, lines, part, from)
      if (place.isErr()) return err(place.error)
      lines = applyHunk(lines, place.value, part.hunk)
      from = place.value + part.hunk.filter(({ op }) => op !== '-').length
    }
    return ok(lines)
  })

/** The index of the line at which a part begins, from the line `from` on. */
function placeIn(
  path: string,
  lines: readonly string[],
  { headers, hunk }: Part,
  from: number,
): Result<number, string> {
  let start = from
  for (const header of headers) {
    const exact = lines.indexOf(header, start)
    const begins = (line: string, index: number) =>
      index >= start && line.trim().startsWith(header.trim())
    const at = exact === -1 ? lines.findIndex(begins) : exact
    if (at === -1) return err(missing(`"@@ ${header}"`, path))
    start = at + 1
  }
  // The last line of a text that ends with a line break is empty, and nothing comes after it.
  const end = lines.length - Number(lines.at(-1) === '')
  const wanted = hunk.flatMap(({ op, text }) => (op === '+' ? [] : [text]))
  if (wanted.length === 0) return ok(headers.length > 0 ? start : end)
  // Some models repeat the header as the first line of context.
  const isRepeated = headers.length > 0 && lines[start - 1] === wanted[0]
  const places = placesOf(lines, wanted, isRepeated ? start - 1 : start)
  const [at] = places
  const what = `The part of the patch that begins with ${JSON.stringify(wanted[0])}`
  if (at === undefined) return err(missing(what, path))
  if (places.length === 1 || headers.length > 0) return ok(at)
  const numbers = places.map((place) => place + 1)
  return err(several(what, path, numbers))
}

/** What becomes of one file of a patch, and the line about it in the result. */
type Planned = { readonly changes: readonly FileChange[]; readonly said: string }

async function plan(file: PatchedFile, context: ToolContext): Promise<Result<Planned, ToolOutput>> {
  if (file.type === 'add') {
    const { content } = file
    const free = await freePlace(file.path, context)
    return free.map(({ shown }) => {
      return { changes: [{ path: shown, content, expected: null }], said: `A ${shown}` }
    })
  }
  const read = await readText(file.path, context)
  if (read.isErr()) return err(read.error)
  const { shown, text, mode, sha256: expected } = read.value
  const removed = { path: shown, content: null, expected }
  if (file.type === 'delete') return ok({ changes: [removed], said: `D ${shown}` })
  const patched = applyParts(shown, text, file.parts)
  if (patched.isErr()) return err(failed(patched.error))
  const content = patched.value
  if (file.to !== null && file.to !== file.path) {
    const free = await freePlace(file.to, context)
    return free.map((to) => {
      const moved = { path: to.shown, content, expected: null, mode }
      return { changes: [moved, removed], said: `R ${shown} → ${to.shown}` }
    })
  }
  if (content === text) return err(failed(`The patch changes nothing in ${shown}.`))
  return ok({ changes: [{ path: shown, content, expected }], said: `M ${shown}` })
}

async function freePlace(path: string, context: ToolContext): Promise<Result<Place, ToolOutput>> {
  const found = await placeOf(context, path, true)
  return found.andThen((place) => {
    if (place.kind === 'nothing') return ok(place)
    return err(failed(`${place.shown} exists already. Use "*** Update File:" to change it.`))
  })
}

const pathsOf = (file: PatchedFile): string[] =>
  file.type === 'update' && file.to !== null ? [file.path, file.to] : [file.path]

export const applyPatch = defineTool({
  name: 'apply_patch',
  description:
    'Change several files of the project by one patch, all of them or none. The format:\n' +
    '*** Begin Patch\n*** Update File: path\n*** Move to: new path (optional)\n@@ a line above, such as a class or function\n' +
    ' three lines of context\n-old line\n+new line\n three lines of context\n*** Add File: path\n+every line\n*** Delete File: path\n*** End Patch\n' +
    'Lines of context must be as they are in the file, and must identify the place. Name each file once.',
  readOnly: false,
  args: z.strictObject({
    input: z.string().min(1).describe('The patch, from *** Begin Patch to *** End Patch'),
  }),
  touches: ({ input }) => ({ paths: parsePatch(input).unwrapOr([]).flatMap(pathsOf) }),
  run: async ({ input }, context) => {
    const parsed = parsePatch(input)
    if (parsed.isErr()) return failed(`${parsed.error} Nothing was changed.`)
    const planned: Planned[] = []
    for (const file of parsed.value) {
      const one = await plan(file, context)
      if (one.isErr()) return unchanged(one.error)
      planned.push(one.value)
    }
    const changes = planned.flatMap((one) => one.changes)
    const paths = changes.map(({ path }) => path)
    const twice = paths.find((path, at) => paths.indexOf(path) !== at)
    if (twice !== undefined) {
      return unchanged(failed(`The patch names ${twice} twice. Put all of its changes together.`))
    }
    const changed = await context.workspace.replaceAll(changes)
    if (changed.isErr()) return unchanged(failedBy('', changed.error))
    return succeeded(['Done:', ...planned.map(({ said }) => said)].join('\n'))
  },
})

const unchanged = (result: ToolOutput): ToolOutput =>
  result.outcome === 'unknown'
    ? result
    : { ...result, output: `${result.output}\nNo file was changed.` }
