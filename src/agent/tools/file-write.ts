import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { optional } from '../../domain/fields.ts'
import { masksIn } from '../../domain/texts.ts'
import { counted } from '../../lib/text.ts'
import { processMask } from '../../masking/process-mask.ts'
import type { Answers } from '../../workspace/protocol.ts'
import { readWhole, type WholeFile } from '../../workspace/workspace.ts'
import { type Edit, editText } from './text-edits.ts'
import {
  defineTool,
  failed,
  failedBy,
  MAX_TEXT_BYTES,
  projectPath,
  succeeded,
  type ToolContext,
  type ToolOutput,
} from './tool.ts'

export const fileWrite = defineTool({
  name: 'file_write',
  description:
    'Write a text file of the project: a new one, with its folders, or in place of all that is in it. To change a part of ' +
    'a file, use file_patch.',
  readOnly: false,
  args: z.strictObject({
    path: projectPath.describe('Relative to the project'),
    content: z.string().describe('Everything that is to be in the file'),
  }),
  touches: ({ path }) => ({ paths: [path] }),
  run: async ({ path, content }, context) => {
    const lost = await lostSecrets(path, content, context)
    if (lost.length > 0) {
      return failed(
        `${path} contains secrets that you saw as ${lost.join(', ')}. This content would ` +
          'remove them, so nothing was changed. Use file_patch to change the text around them.',
      )
    }
    const written = await context.workspace.replaceAll([{ path, content }])
    if (written.isErr()) return failedBy(path, written.error)
    const [{ change, shown } = { change: 'created', shown: path }] = written.value
    const what = change === 'created' ? 'Created' : 'Replaced'
    return succeeded(`${what} ${shown} (${counted(Buffer.byteLength(content), 'byte')}).`)
  },
})

/**
 * The masks in new content under which the file holds secrets. A model that was shown a mask and rewrites the file
 * would write the mask in place of the secret, and the secret would be lost.
 */
async function lostSecrets(
  path: string,
  content: string,
  { workspace, signal }: ToolContext,
): Promise<string[]> {
  const masks = masksIn(content)
  if (masks.length === 0) return []
  const read = await readWhole(workspace, { path, maxBytes: MAX_TEXT_BYTES, signal })
  const text = read.isOk() ? read.value.content.toString() : ''
  const shown = processMask.text(text)
  return masks.filter((mask) => shown.includes(mask) && !text.includes(mask))
}

/** Reads a whole text file that is to be changed. The error is the result of the call. */
export async function readText(
  path: string,
  { workspace, signal }: Pick<ToolContext, 'workspace' | 'signal'>,
): Promise<Result<Omit<WholeFile, 'content'> & { readonly text: string }, ToolOutput>> {
  const asked = { path, maxBytes: MAX_TEXT_BYTES, isToWrite: true, signal }
  const read = await readWhole(workspace, asked)
  if (read.isErr()) return err(failedBy(path, read.error))
  const { content, ...file } = read.value
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  try {
    return ok({ ...file, text: decoder.decode(content) })
  } catch {
    return err(failed(`${file.shown} is not a text file in UTF-8.`))
  }
}

/** Makes all edits, one after the other; the error is for the model. */
function patch(path: string, before: string, edits: readonly Edit[]) {
  let text = before
  const said: string[] = []
  for (const [index, edit] of edits.entries()) {
    const edited = editText(path, text, edit)
    if (edited.isErr()) {
      const which = edits.length > 1 ? `Edit ${index + 1} of ${edits.length}: ` : ''
      return err(which + edited.error)
    }
    const { times } = edited.value
    said.push(`Replaced the text${times > 1 ? ` ${times} times` : ''} in ${path}.`)
    text = edited.value.text
  }
  return ok({ text, said })
}

const old = z.string().min(1).describe('The text to replace, as it is in the file')
const fresh = z.string().describe('What to put in its place')
const replaceAll = optional(
  z.boolean(),
  'Replace every occurrence; "old" must occur once if left out',
)

export const filePatch = defineTool({
  name: 'file_patch',
  description:
    'Replace text in a file of the project: "old" by "new", or several pieces at once by "edits", one after the other and all ' +
    'of them or none. "old" must occur exactly once (or set replace_all), so include lines around the place. Leave out ' +
    'the line numbers that file_read shows. Line ends of the file are kept.',
  readOnly: false,
  args: z
    .strictObject({
      path: projectPath.describe('Relative to the project'),
      old: old.optional(),
      new: fresh.optional(),
      replace_all: replaceAll,
      edits: z
        .array(z.strictObject({ old, new: fresh, replace_all: replaceAll }))
        .min(1)
        .max(100)
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
    const asked = (edits ?? [one]).map(({ old = '', new: fresh = '', replace_all = false }) => {
      return { old, new: fresh, replaceAll: replace_all }
    })
    const patched = patch(shown, text, asked)
    if (patched.isErr()) return failed(patched.error)
    const written = await context.workspace.replace(path, expected, patched.value.text)
    if (written.isErr()) return failedBy(path, written.error)
    return succeeded(patched.value.said.join('\n'))
  },
})

export const fileDelete = defineTool({
  name: 'file_delete',
  description:
    'Delete a file, a symbolic link (not what it leads to) or an empty folder of the project.',
  readOnly: false,
  args: z.strictObject({ path: projectPath.describe('Relative to the project') }),
  touches: ({ path }) => ({ paths: [path] }),
  run: async ({ path }, { workspace }) => {
    const removed = await workspace.ask('remove', { path })
    if (removed.isErr()) return failedBy(path, removed.error)
    const { shown, wasFolder } = removed.value
    return succeeded(`Deleted ${wasFolder ? 'the empty folder ' : ''}${shown}.`)
  },
})

export const fileRename = defineTool({
  name: 'file_rename',
  description:
    'Rename or move a file or folder within the project. Folders on the way are made. A file at the new path is replaced ' +
    'only with "overwrite".',
  readOnly: false,
  args: z.strictObject({
    path: projectPath.describe('The path now, relative to the project'),
    to: projectPath.describe('The new path, relative to the project, with the name'),
    overwrite: optional(z.boolean(), 'Replace a file that is there; never a folder'),
  }),
  touches: ({ path, to }) => ({ paths: [path, to], trees: [path, to] }),
  run: async ({ path, to, overwrite = false }, { workspace }) => {
    const renamed = await workspace.ask('rename', { path, to, overwrite })
    if (renamed.isErr()) return failedBy(path, renamed.error)
    return succeeded(`Renamed ${renamed.value.shown} to ${renamed.value.shownTo}.`)
  },
})

const MAX_ENTRIES = 1000

type Entry = Answers['list']['entries'][number]

/** `name/` for a folder, `name -> target` for a link, `name (12 bytes)` for a file. */
const line = ({ name, kind, target, size }: Entry): string =>
  ({
    folder: `${name}/`,
    link: `${name} -> ${target}`,
    file: `${name} (${size} bytes)`,
    other: `${name} (not a regular file)`,
    gone: `${name} (gone)`,
  })[kind]

export const fileList = defineTool({
  name: 'file_list',
  description: 'List the files and folders in one folder of the project.',
  readOnly: true,
  args: z.strictObject({
    path: optional(projectPath, 'Relative to the project; the project itself if left out'),
  }),
  touches: ({ path = '.' }) => ({ paths: [path] }),
  run: async ({ path = '.' }, { workspace, signal }) => {
    const listed = await workspace.ask('list', { path, limit: MAX_ENTRIES }, { signal })
    if (listed.isErr()) return failedBy(path, listed.error)
    const { entries, more } = listed.value
    if (entries.length === 0) return succeeded('The folder is empty.')
    const note = more ? [`[only ${MAX_ENTRIES} entries are shown; there are more]`] : []
    return succeeded([...entries.map(line).sort(), ...note].join('\n'))
  },
})
