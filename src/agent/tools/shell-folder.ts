import { isAbsolute } from 'node:path'
import { err, ok, type Result } from 'neverthrow'
import { REPORT_FD } from '../../runner/protocol.ts'
import type { Place } from '../../workspace/answers.ts'
import { describeProblem, placeOf } from './path-problem.ts'
import type { ToolContext, ToolOutput } from './tool.ts'

/** The project's folder, as a path from the project. */
const PROJECT = '.'

/** A descriptor that scripts do not use, such as 3 to 9 and 200. Older bash cannot choose a free one. */
const KEPT_FD = 173

/**
 * Runs its argument as `bash -c` does. When this shell ends, it reports its folder to the runner. It
 * reports nothing after `exec`, after a kill, or if the command sets a trap on EXIT itself. The exit code stays, and
 * nothing is printed, also with tracing, noclobber, errexit or a trap on DEBUG. Tracing shows `eval` as one more level.
 */
const REPORTING = [
  `{ exec ${KEPT_FD}>&${REPORT_FD} ${REPORT_FD}>&-; } 2>/dev/null || :`,
  'retrai_command=$1',
  'shift',
  `trap '{ builtin trap - DEBUG; builtin set +x; builtin pwd -P >&${KEPT_FD}; } >/dev/null 2>&1 || :' EXIT`,
  'eval "$retrai_command"',
].join('; ')

/** The arguments of bash for a command that reports the folder in which it ends. */
export const reporting = (command: string): string[] => ['-c', REPORTING, 'bash', command]

type Project = Pick<ToolContext, 'cwd' | 'workspace'>

/** The folder in the project where a command starts. The error is for the model. */
export async function startFolder(
  project: Project,
  folder: string = PROJECT,
): Promise<Result<string, string>> {
  if (folder === PROJECT) return ok(project.cwd)
  const opened = await openIn(project, folder)
  return opened.map(({ real }) => real)
}

/** A folder of the project. */
async function openIn({ workspace }: Project, folder: string): Promise<Result<Place, string>> {
  const found = await placeOf(workspace, folder)
  return found.andThen((place) => {
    if (place.kind === 'folder') return ok(place)
    const type = place.kind === 'nothing' ? 'not_found' : 'not_a_folder'
    return err(describeProblem(folder, { type }))
  })
}

/** A project, and where the next command of its run starts. */
type Shell = Project & { readonly shellFolder: string }

type Start = {
  readonly cwd: string
  /** Where the next command starts, unless this one reports another folder. */
  readonly folder: string
  /** For the model, as a part of the output. */
  readonly notes: readonly string[]
}

/** Where a command starts: where the model asks, otherwise where the last command ended. The error is for the model. */
export async function startOfShell(
  shell: Shell,
  wanted: string | undefined,
): Promise<Result<Start, string>> {
  const { cwd, shellFolder: folder } = shell
  const started = await startFolder(shell, wanted ?? folder)
  if (started.isOk()) return ok({ cwd: started.value, folder, notes: [] })
  if (wanted !== undefined) return err(started.error)
  const note = `${JSON.stringify(folder)}, where the last command ended, cannot be entered any more: this command started in the project's folder`
  return ok({ cwd, folder: PROJECT, notes: [note] })
}

/** What a command adds to its result: where the next one starts, unless that is the project's folder as before. */
export async function endOfShell(
  shell: Shell,
  start: Start,
  report: string | undefined,
): Promise<Pick<ToolOutput, 'folder'> & Pick<Start, 'notes'>> {
  const reported = folderIn(report)
  const found = reported === null ? null : await openIn(shell, reported)
  const folder = found === null ? start.folder : found.isOk() ? found.value.shown : PROJECT
  const notes = [
    ...start.notes,
    ...(found?.isErr() ? [ELSEWHERE] : []),
    ...(folder === PROJECT ? [] : [`the next command starts in ${JSON.stringify(folder)}`]),
  ]
  return folder === PROJECT && shell.shellFolder === PROJECT ? { notes } : { folder, notes }
}

const ELSEWHERE =
  "this command ended in no folder of the project: the next command starts in the project's folder"

/** The path in a report; null if it has no valid one. The command may have reported anything. */
function folderIn(report: string | undefined): string | null {
  const path = report?.replace(/\n$/, '') ?? ''
  return isAbsolute(path) && !path.includes('\0') ? path : null
}
