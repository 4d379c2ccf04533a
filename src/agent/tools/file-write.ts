import * as z from 'zod'
import { masksIn } from '../../domain/mask/finder.ts'
import { processMask } from '../../log/masking.ts'
import {
  type ConfinedPath,
  confineForWriting,
  openForReading,
  projectPath,
  readAtMost,
} from './confine.ts'
import { describeProblem } from './path-problem.ts'
import { defineTool, failed, succeeded } from './tool.ts'
import { writeAtomically } from './write-atomically.ts'

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
