import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { masksIn } from '../../domain/mask/finder.ts'
import { processMask } from '../../log/masking.ts'
import { type ConfinedPath, confine, openForReading, projectPath, readAtMost } from './confine.ts'
import { describeProblem } from './path-problem.ts'
import { defineTool, failed, succeeded } from './tool.ts'
import { writeAtomically } from './write-atomically.ts'

export const fileWrite = defineTool({
  name: 'file_write',
  description:
    'Write a text file of the project: a new one, with its folders, or in place of all that is in it.',
  readOnly: false,
  args: z.strictObject({
    path: projectPath.describe('Relative to the project'),
    content: z.string().describe('Everything that is to be in the file'),
  }),
  run: async ({ path, content }, project) => {
    const confined = await confine(project, path)
    if (confined.isErr()) return failed(describeProblem(path, confined.error))
    const lost = await lostSecrets(confined.value, content)
    if (lost.length > 0) {
      return failed(
        `${confined.value.shown} contains secrets that you saw as ${lost.join(', ')}. This content would ` +
          'remove them, so nothing was changed. Use file_patch to change the text around them.',
      )
    }
    const written = await writeAtomically(confined.value, content)
    if (written.isErr()) return failed(describeProblem(path, written.error))
    const what = written.value === 'created' ? 'Created' : 'Replaced'
    return succeeded(`${what} ${confined.value.shown} (${Buffer.byteLength(content)} bytes).`)
  },
})

/** A larger file is not compared: a model cannot have read all of it. */
const MAX_COMPARED_BYTES = 16 * 1024 * 1024

/**
 * The masks in new content under which the file holds secrets. A model that was shown a mask and rewrites the file
 * would write the mask in place of the secret, and the secret would be lost.
 */
async function lostSecrets(path: ConfinedPath, content: string): Promise<string[]> {
  const masks = masksIn(content)
  if (masks.length === 0) return []
  const opened = await openForReading(path)
  if (opened.isErr()) return []
  const { file, stats } = opened.value
  try {
    const content =
      stats.size > MAX_COMPARED_BYTES ? null : await readAtMost(file, MAX_COMPARED_BYTES)
    const text = content?.toString() ?? ''
    const shown = processMask.text(text)
    return masks.filter((mask) => shown.includes(mask) && !text.includes(mask))
  } finally {
    await file.close()
  }
}

const MAX_BYTES = 16 * 1024 * 1024

/** Reads a whole text file; the error is a sentence for the model. */
async function readText(path: string, confined: ConfinedPath): Promise<Result<string, string>> {
  const opened = await openForReading(confined)
  if (opened.isErr()) return err(describeProblem(path, opened.error))
  const { file, stats } = opened.value
  try {
    const content = stats.size > MAX_BYTES ? null : await readAtMost(file, MAX_BYTES)
    if (content === null) {
      return err(`${path} is too large to patch: it has more than ${MAX_BYTES} bytes.`)
    }
    const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
    return ok(decoder.decode(content))
  } catch (cause) {
    if (cause instanceof TypeError) return err(`${path} is not a text file in UTF-8.`)
    throw cause
  } finally {
    await file.close()
  }
}

/** All places of `part` in `text`, also overlapping ones: each could be the intended one. */
function placesOf(text: string, part: string): number[] {
  const places: number[] = []
  for (let at = text.indexOf(part); at !== -1; at = text.indexOf(part, at + 1)) places.push(at)
  return places
}

const lineOf = (text: string, at: number): number => text.slice(0, at).split('\n').length

function notOnceMessage(
  path: string,
  text: string,
  old: string,
  places: readonly number[],
): string {
  if (places.length > 1) {
    const lines = places.slice(0, 10).map((at) => lineOf(text, at))
    const more = places.length > lines.length ? ', …' : ''
    return (
      `"old" occurs ${places.length} times in ${path} (lines ${lines.join(', ')}${more}), but must ` +
      'occur exactly once. Include more of the text around the place. Nothing was changed.'
    )
  }
  const otherEnds = old.includes('\n') && text.includes('\r\n') && !old.includes('\r\n')
  const hint = otherEnds ? ' The lines of this file end with \\r\\n.' : ''
  return (
    `"old" occurs 0 times in ${path}, but must occur exactly once, with the same spaces and line ` +
    `ends.${hint} Nothing was changed.`
  )
}

export const filePatch = defineTool({
  name: 'file_patch',
  description:
    'Replace one piece of text in a file of the project. "old" must occur in it exactly once, with ' +
    'all its spaces and line ends.',
  readOnly: false,
  args: z.strictObject({
    path: projectPath.describe('Relative to the project'),
    old: z.string().min(1).describe('The text to replace, as it is in the file'),
    new: z.string().describe('What to put in its place'),
  }),
  run: async ({ path, old, new: replacement }, project) => {
    const confined = await confine(project, path)
    if (confined.isErr()) return failed(describeProblem(path, confined.error))
    const { shown } = confined.value
    const read = await readText(shown, confined.value)
    if (read.isErr()) return failed(read.error)
    const text = read.value
    const places = placesOf(text, old)
    const [at] = places
    if (at === undefined || places.length > 1)
      return failed(notOnceMessage(shown, text, old, places))
    if (old === replacement) return failed('"old" and "new" are the same. Nothing was changed.')
    const patched = text.slice(0, at) + replacement + text.slice(at + old.length)
    const written = await writeAtomically(confined.value, patched)
    if (written.isErr()) return failed(describeProblem(path, written.error))
    return succeeded(`Replaced the text at line ${lineOf(text, at)} of ${shown}.`)
  },
})
