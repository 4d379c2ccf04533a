import * as z from 'zod'
import { confine, projectPath } from './confine.ts'
import { defineTool, failed, succeeded } from './define-tool.ts'
import { lostSecrets } from './lost-secrets.ts'
import { describeProblem } from './path-problem.ts'
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
        `${confined.value.shown} holds secrets that were shown to you as ${lost.join(', ')}, and would ` +
          'lose them. Nothing was changed. Change what stands round them with file_patch.',
      )
    }
    const written = await writeAtomically(confined.value, content)
    if (written.isErr()) return failed(describeProblem(path, written.error))
    const what = written.value === 'created' ? 'Created' : 'Replaced'
    return succeeded(`${what} ${confined.value.shown} (${Buffer.byteLength(content)} bytes).`)
  },
})
