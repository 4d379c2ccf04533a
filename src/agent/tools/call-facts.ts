import { lstat } from 'node:fs/promises'
import { join, relative, resolve } from 'node:path'
import type { CallFacts, Touches } from '../../domain/approvals/rules.ts'
import type { RequestedCall } from '../../domain/records.ts'
import { codeOf } from '../../lib/message-of.ts'
import { shellWord } from '../../lib/shell-word.ts'
import { SETTINGS_FILE } from '../goals/retrai-yml.ts'
import { confine, isInside, type Project, realOf } from './confine.ts'
import type { Declared, DefinedTool, Place } from './tool.ts'

/** What the rules need to know of a call; null if it is rejected anyway, because its arguments are not valid. */
export async function factsOf(
  call: RequestedCall,
  tool: DefinedTool | undefined,
  project: Project & Place,
): Promise<Pick<CallFacts, 'tool' | 'touches'> | null> {
  if (tool === undefined) return { tool: call.tool, touches: null }
  if (call.raw_args !== undefined) return null
  const declared = tool.touches(call.args)
  return declared === null ? null : { tool: call.tool, touches: await resolved(declared, project) }
}

/** All names are from the project of the run that a person started, because its rules are. Null if that is not known. */
async function resolved(declared: Declared, project: Project & Place): Promise<Touches | null> {
  const { paths = [], trees = [], commands = [], obeysSettings = false, ...rest } = declared
  const { startsIn = '.', ...touched } = rest
  const above = await folderInFamily(project)
  if (above === null) return null
  const names = (all: readonly string[]) =>
    Promise.all(
      all.map(async (path) => (await namesOf(path, project)).map((name) => join(above, name))),
    )
  const folder = startsIn ?? project.shellFolder ?? '.'
  const starts = commands.length === 0 ? [] : (await names([folder])).flat()
  const elsewhere = starts.filter((name) => name !== '.').map((name) => `cd ${shellWord(name)}`)
  const isTold = obeysSettings && (await exists(join(resolve(project.cwd, folder), SETTINGS_FILE)))
  return {
    ...touched,
    paths: await names(paths),
    trees: await names(trees),
    commands: [...elsewhere, ...commands, ...(isTold ? [null] : [])],
  }
}

/** The project of a run, as a path from that of the run that a person started. Null if it is not in there. */
async function folderInFamily({ cwd, root }: Project & Place): Promise<string | null> {
  if (root === undefined) return ''
  if (root === null) return null
  const [top, own] = await Promise.all([realOf(root), realOf(cwd)])
  return isInside(top, own) ? relative(top, own) : null
}

/** If it cannot be seen, it may be there. */
const exists = (path: string): Promise<boolean> =>
  lstat(path).then(
    () => true,
    (cause) => codeOf(cause) !== 'ENOENT' && codeOf(cause) !== 'ENOTDIR',
  )

/** A path as it is written and, if links lead elsewhere, where it leads: both from the project. */
async function namesOf(path: string, project: Project): Promise<readonly string[]> {
  const written = relative(resolve(project.cwd), resolve(project.cwd, path)) || '.'
  const confined = await confine(project, path)
  return confined.isOk() && confined.value.shown !== written
    ? [written, confined.value.shown]
    : [written]
}
