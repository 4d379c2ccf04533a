import { relative, resolve } from 'node:path'
import type { CallFacts, Touches } from '../../domain/approvals/rules.ts'
import type { RequestedCall } from '../../domain/records.ts'
import { confine, type Project } from './confine.ts'
import type { Declared, DefinedTool } from './tool.ts'

/** What the rules need to know of a call; null if it is rejected anyway, because its arguments are not valid. */
export async function factsOf(
  call: RequestedCall,
  tool: DefinedTool | undefined,
  project: Project,
): Promise<Pick<CallFacts, 'tool' | 'touches'> | null> {
  if (tool === undefined) return { tool: call.tool, touches: null }
  if (call.raw_args !== undefined) return null
  const declared = tool.touches(call.args)
  return declared === null ? null : { tool: call.tool, touches: await resolved(declared, project) }
}

async function resolved(declared: Declared, project: Project): Promise<Touches> {
  const { paths = [], trees = [], ...rest } = declared
  const names = (all: readonly string[]) => Promise.all(all.map((path) => namesOf(path, project)))
  return { ...rest, paths: await names(paths), trees: await names(trees) }
}

/** A path as it is written and, if links lead elsewhere, where it leads: both from the project. */
async function namesOf(path: string, project: Project): Promise<readonly string[]> {
  const written = relative(resolve(project.cwd), resolve(project.cwd, path)) || '.'
  const confined = await confine(project, path)
  return confined.isOk() && confined.value.shown !== written
    ? [written, confined.value.shown]
    : [written]
}
