import type { Result } from 'neverthrow'
import type { Answers } from '../../workspace/answers.ts'
import type { WantedFile } from '../../workspace/questions.ts'
import type { Failure } from '../../workspace/workspace.ts'
import type { ToolContext } from './tool.ts'

/** What is to be at a path: this content, or nothing. */
export type FileChange = Omit<WantedFile, 'bytes'> & { readonly content: string | null }

/** Changes all of these files, or none. It is carried out to its end, also if the run is stopped meanwhile. */
export async function changeFiles(
  changes: readonly FileChange[],
  { workspace }: Pick<ToolContext, 'workspace'>,
): Promise<Result<Answers['change']['done'], Failure>> {
  const contents = changes.map(({ content }) => (content === null ? null : Buffer.from(content)))
  const files = changes.map(({ content: _, ...file }, at) => {
    return { ...file, bytes: contents[at]?.length ?? null }
  })
  const body = Buffer.concat(contents.filter((content) => content !== null))
  const changed = await workspace.ask('change', { files }, { body })
  return changed.map(({ done }) => done)
}
