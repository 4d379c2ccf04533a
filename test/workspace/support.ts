import { onTestFinished } from 'vitest'
import { type OpenWorkspace, Workspace } from '../../src/workspace/workspace.ts'
import { startProcess } from '../runner/support.ts'
import { COMPILE_CACHE } from '../support/build.ts'

/** Hundreds of tests start the program: all after the first take its code from the cache. */
const env = { NODE_COMPILE_CACHE: COMPILE_CACHE }

/** Opens the files of a project, without isolation. The one who opens them closes them. */
export const openWorkspace: OpenWorkspace = (project) =>
  new Workspace(project, (program) => startProcess({ ...program, env: { ...program.env, ...env } }))

/** The files of a project until the end of the test, without isolation. */
export function workspaceOf(cwd: string): Workspace {
  const workspace = openWorkspace({ cwd })
  onTestFinished(() => workspace[Symbol.asyncDispose]())
  return workspace
}
