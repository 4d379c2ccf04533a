import { link, rename, rmdir, unlink } from 'node:fs/promises'
import { basename } from 'node:path'
import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { masksIn } from '../../domain/mask/finder.ts'
import { counted } from '../../lib/counted.ts'
import { codeOf } from '../../lib/message-of.ts'
import { processMask } from '../../log/masking.ts'
import {
  type ConfinedPath,
  confineEntry,
  confineForWriting,
  isInside,
  type OpenedPath,
  openForReading,
  pathIn,
  projectPath,
  readAtMost,
} from './confine.ts'
import { openParent, removeFolders } from './parent-folder.ts'
import { describeProblem, type PathProblem, problemOf } from './path-problem.ts'
import { defineTool, failed, succeeded } from './tool.ts'
import { statsOf, writeAtomically } from './write-atomically.ts'

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
  run: async ({ path, content }, project) => {
    const confined = await confineForWriting(project, path)
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
    return succeeded(
      `${what} ${confined.value.shown} (${counted(Buffer.byteLength(content), 'byte')}).`,
    )
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

type Place = { readonly folder: OpenedPath; readonly at: string }

/** Uses the place of a path in its open folder, which no link can replace. */
async function inPlace<T>(
  path: ConfinedPath,
  make: boolean,
  use: (place: Place) => Promise<Result<T, PathProblem>>,
): Promise<Result<T, PathProblem>> {
  try {
    const parent = await openParent(path, make)
    if (parent.isErr()) return err(parent.error)
    const { folder, made } = parent.value
    let isUsed = false
    try {
      const used = await use({ folder, at: pathIn(folder, basename(path.real)) })
      isUsed = used.isOk()
      return used
    } finally {
      await folder.file.close()
      if (!isUsed) await removeFolders(path.root, made)
    }
  } catch (cause) {
    return err(problemOf(cause))
  }
}

export const fileDelete = defineTool({
  name: 'file_delete',
  description:
    'Delete a file, a symbolic link (not what it leads to) or an empty folder of the project.',
  readOnly: false,
  args: z.strictObject({ path: projectPath.describe('Relative to the project') }),
  touches: ({ path }) => ({ paths: [path] }),
  run: async ({ path }, project) => {
    const confined = await confineEntry(project, path)
    if (confined.isErr()) return failed(describeProblem(path, confined.error))
    const { shown } = confined.value
    const deleted = await inPlace(confined.value, false, async ({ at }) => {
      const stats = await statsOf(at)
      if (stats === null) return err({ type: 'not_found' })
      await (stats.isDirectory() ? rmdir(at) : unlink(at))
      return ok(stats.isDirectory() ? 'the empty folder ' : '')
    })
    if (deleted.isOk()) return succeeded(`Deleted ${deleted.value}${shown}.`)
    return failed(describeProblem(path, deleted.error))
  },
})

/** Moves a file or folder. A file is replaced only if that is asked for, even if it appears meanwhile. */
async function move(from: Place, to: Place, overwrite: boolean): Promise<PathProblem | null> {
  const [stats, present] = await Promise.all([statsOf(from.at), statsOf(to.at)])
  if (stats === null) return { type: 'not_found' }
  if (present?.isDirectory() || (present !== null && !overwrite)) return { type: 'exists' }
  if (overwrite || !stats.isFile()) {
    await rename(from.at, to.at)
    return null
  }
  try {
    await link(from.at, to.at)
  } catch (cause) {
    if (codeOf(cause) === 'EEXIST') return { type: 'exists' }
    // A file system without hard links.
    await rename(from.at, to.at)
    return null
  }
  await unlink(from.at)
  return null
}

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
  run: async ({ path, to, overwrite = false }, project) => {
    const [source, target] = await Promise.all([
      confineEntry(project, path),
      confineEntry(project, to),
    ])
    if (source.isErr()) return failed(describeProblem(path, source.error))
    if (target.isErr()) return failed(describeProblem(to, target.error))
    const [{ real, shown }, { real: realTo, shown: shownTo }] = [source.value, target.value]
    if (real === realTo) return failed('Both paths are the same. Nothing was changed.')
    if (isInside(real, realTo)) return failed(`${shown} cannot be moved into itself.`)
    const moved = await inPlace(source.value, false, async (from) => {
      if ((await statsOf(from.at)) === null) return err({ type: 'not_found' })
      return ok(
        await inPlace(target.value, true, async (into) => {
          const problem = await move(from, into, overwrite)
          return problem === null ? ok() : err(problem)
        }),
      )
    })
    if (moved.isErr()) return failed(describeProblem(path, moved.error))
    if (moved.value.isErr()) return failed(renameProblem(to, moved.value.error))
    return succeeded(`Renamed ${shown} to ${shownTo}.`)
  },
})

function renameProblem(to: string, problem: PathProblem): string {
  const hint =
    problem.type === 'exists' ? ' Nothing was changed. A file is replaced with "overwrite".' : ''
  return describeProblem(to, problem) + hint
}
