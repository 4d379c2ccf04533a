import type { ProjectFolder } from '../domain/project-folder.ts'
import type { RunConfig } from '../domain/run-config.ts'
import type { RunState } from '../domain/state.ts'
import { messageOf } from '../lib/message-of.ts'
import { folderAt } from '../runner/isolation/project-folder.ts'

/** What a run says of its project. */
export type OfProject = Pick<RunState, 'runId' | 'project' | 'parent'> & {
  readonly config: Pick<RunConfig, 'cwd'>
}

/** The projects of runs of earlier versions, as this process found them first. */
const found = new Map<string, ProjectFolder>()

/**
 * Which folder the project of a run is. A run of an earlier version has not recorded that: its project is the folder that
 * this process finds first. That of a sub-agent, in a folder that other agents may change, must be reached through no link.
 */
export function projectOf({ runId, project, config: { cwd }, parent }: OfProject): ProjectFolder {
  const known = project ?? found.get(runId)
  if (known !== undefined) return known
  const first = folderNow(cwd)
  const isSwapped = parent !== undefined && first?.path !== cwd
  if (first === null || isSwapped) return { path: cwd, device: '', inode: '' } // No folder is this one.
  found.set(runId, first)
  return first
}

function folderNow(path: string): ProjectFolder | null {
  try {
    return folderAt(path)
  } catch {
    return null
  }
}

/** Why the project of a run cannot be used now, as a part of a sentence; null if it can. */
export function projectProblem(cwd: string, project: ProjectFolder): string | null {
  try {
    folderAt(cwd, project)
    return null
  } catch (cause) {
    return messageOf(cause)
  }
}
