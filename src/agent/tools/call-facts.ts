import { lstat } from 'node:fs/promises'
import { join, relative, resolve } from 'node:path'
import type { CallFacts, Touches } from '../../domain/approvals/rules.ts'
import type { RequestedCall } from '../../domain/records.ts'
import { isWithin } from '../../lib/is-within.ts'
import { codeOf } from '../../lib/message-of.ts'
import { shellWord } from '../../lib/shell-word.ts'
import { realPathOf } from '../../runner/isolation/sandbox.ts'
import { SETTINGS_FILE } from '../goals/retrai-yml.ts'
import type { Declared, DefinedTool, Place } from './tool.ts'

/** What the rules need to know of a call; null if it is rejected anyway, because its arguments are not valid. */
export async function factsOf(
  call: RequestedCall,
  tool: DefinedTool | undefined,
  place: Place,
): Promise<Pick<CallFacts, 'tool' | 'touches'> | null> {
  if (tool === undefined) return { tool: call.tool, touches: null }
  if (call.raw_args !== undefined) return null
  const declared = tool.touches(call.args)
  return declared === null ? null : { tool: call.tool, touches: await resolved(declared, place) }
}

/**
 * All names are from the project of the run that a person started, because its rules are. Null if that is not known, or if
 * nobody can say where links lead, so no rule can allow the call.
 */
async function resolved(declared: Declared, place: Place): Promise<Touches | null> {
  const { paths = [], trees = [], commands = [], obeysSettings = false, ...rest } = declared
  const { startsIn = '.', ...touched } = rest
  const above = folderInFamily(place)
  const folder = startsIn ?? place.shellFolder ?? '.'
  const names = await namesOf(
    [...paths, ...trees, ...(commands.length === 0 ? [] : [folder])],
    place,
  )
  if (above === null || names === null) return null
  const inFamily = names.map((all) => all.map((name) => join(above, name)))
  const starts = inFamily.slice(paths.length + trees.length).flat()
  const elsewhere = starts.filter((name) => name !== '.').map((name) => `cd ${shellWord(name)}`)
  const isTold = obeysSettings && (await exists(join(resolve(place.cwd, folder), SETTINGS_FILE)))
  return {
    ...touched,
    paths: inFamily.slice(0, paths.length),
    trees: inFamily.slice(paths.length, paths.length + trees.length),
    commands: [...elsewhere, ...commands, ...(isTold ? [null] : [])],
  }
}

/** The project of a run, as a path from that of the run that a person started. Null if it is not in there. */
function folderInFamily({ cwd, root }: Place): string | null {
  if (root === undefined) return ''
  if (root === null) return null
  const [top, own] = [realPathOf(root), realPathOf(cwd)]
  return isWithin(top, own) ? relative(top, own) : null
}

/** If it cannot be seen, it may be there. */
const exists = (path: string): Promise<boolean> =>
  lstat(path).then(
    () => true,
    (cause) => codeOf(cause) !== 'ENOENT' && codeOf(cause) !== 'ENOTDIR',
  )

/** Each path as it is written and, if links lead elsewhere, where it leads: both from the project. */
async function namesOf(
  paths: readonly string[],
  { cwd, workspace }: Place,
): Promise<readonly (readonly string[])[] | null> {
  if (paths.length === 0) return []
  const found = await workspace.ask('resolve', { paths })
  if (found.isErr()) return null
  return paths.map((path, at) => {
    const written = relative(resolve(cwd), resolve(cwd, path)) || '.'
    const place = found.value.places[at]
    const isOther = place !== undefined && 'shown' in place && place.shown !== written
    return isOther ? [written, place.shown] : [written]
  })
}
