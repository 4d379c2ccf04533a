import * as z from 'zod'
import { masksIn } from '../../domain/mask/finder.ts'
import { counted } from '../../lib/counted.ts'
import { processMask } from '../../log/masking.ts'
import { readWhole } from '../../workspace/read-file.ts'
import { changeFiles } from './change-files.ts'
import { failedBy } from './path-problem.ts'
import { projectPath } from './project-path.ts'
import { defineTool, failed, succeeded, type ToolContext } from './tool.ts'

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
    const written = await changeFiles([{ path, content }], context)
    if (written.isErr()) return failedBy(path, written.error)
    const [{ change, shown } = { change: 'created', shown: path }] = written.value
    const what = change === 'created' ? 'Created' : 'Replaced'
    return succeeded(`${what} ${shown} (${counted(Buffer.byteLength(content), 'byte')}).`)
  },
})

/** A larger file is not compared: a model cannot have read all of it. */
const MAX_COMPARED_BYTES = 16 * 1024 * 1024

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
  const read = await readWhole(workspace, { path, maxBytes: MAX_COMPARED_BYTES, signal })
  const text = read.isOk() ? read.value.content.toString() : ''
  const shown = processMask.text(text)
  return masks.filter((mask) => shown.includes(mask) && !text.includes(mask))
}

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
    overwrite: z.boolean().optional().describe('Replace a file that is there; never a folder'),
  }),
  touches: ({ path, to }) => ({ paths: [path, to], trees: [path, to] }),
  run: async ({ path, to, overwrite = false }, { workspace }) => {
    const renamed = await workspace.ask('rename', { path, to, overwrite })
    if (renamed.isOk())
      return succeeded(`Renamed ${renamed.value.shown} to ${renamed.value.shownTo}.`)
    const isThere = renamed.error.problem.type === 'exists'
    const hint = ' Nothing was changed. A file is replaced with "overwrite".'
    return failedBy(path, renamed.error, isThere ? hint : '')
  },
})
