import { mkdir, readdir, readFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import type { CallContext, Toolbox } from '../../../src/agent/tools/tool.ts'
import { createToolbox } from '../../../src/agent/tools/toolbox.ts'
import { createArtifacts } from '../../../src/artifacts/artifacts.ts'
import type { PayloadOf } from '../../../src/domain/records.ts'
import type { OpenCall } from '../../../src/domain/state.ts'
import { runCommand } from '../../../src/runner/run-command.ts'
import type { Workspace } from '../../../src/workspace/workspace.ts'
import { startProcess, temporaryFolder, writeFiles } from '../../runner/support.ts'
import { workspaceOf } from '../../workspace/support.ts'
import { BARE } from './bare-call.ts'

type Args = OpenCall['args']
type Run = (
  tool: string,
  args?: Args,
  signal?: AbortSignal,
  context?: Partial<CallContext>,
) => Promise<PayloadOf<'tool_result'>>

export type Project = {
  readonly cwd: string
  /** A folder beside the project that no tool may reach. */
  readonly outside: string
  readonly workspace: Workspace
  readonly toolbox: Toolbox
  readonly artifacts: ReturnType<typeof createArtifacts>
  /** Runs a call of the model in the project. */
  readonly execute: (
    call: OpenCall,
    context?: Partial<CallContext>,
  ) => Promise<PayloadOf<'tool_result'>>
  /** The same for a tool with these arguments. */
  readonly run: Run
  /** The same for a folder that is the project of its run. */
  readonly runIn: (cwd: string, tool: string, args?: Args) => ReturnType<Run>
}

const { signal: unstopped } = new AbortController()

/** A project with these files, its tools, and by default real processes. */
export async function projectWith(
  files: Readonly<Record<string, string | Buffer>> = {},
  options: Partial<Parameters<typeof createToolbox>[0]> = {},
): Promise<Project> {
  const base = await temporaryFolder()
  const cwd = join(base, 'project')
  const outside = join(base, 'outside')
  for (const folder of [cwd, outside]) await mkdir(folder)
  await writeFiles(cwd, files)
  const artifacts = createArtifacts(join(base, 'artifacts'))
  const toolbox = createToolbox({ runCommand, startProcess, artifacts, ...options })
  const workspace = workspaceOf(cwd)
  const execute: Project['execute'] = (call, context) =>
    toolbox.execute(call, { ...BARE, cwd, workspace, signal: unstopped, ...context })
  const run: Run = (tool, args = {}, signal = unstopped, context = {}) =>
    execute({ call_id: 'call-1', tool, args, read_only: false }, { signal, ...context })
  const runIn: Project['runIn'] = (folder, tool, args = {}) =>
    run(tool, args, undefined, { cwd: folder, workspace: workspaceOf(folder) })
  return { cwd, outside, workspace, toolbox, artifacts, execute, run, runIn }
}

/** The contents of all files of a folder, by their paths from there. */
export async function allFilesOf(folder: string): Promise<Readonly<Record<string, string>>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile())
  const texts = files.map(async ({ parentPath, name }) => {
    const path = join(parentPath, name)
    return [relative(folder, path), await readFile(path, 'utf8')] as const
  })
  return Object.fromEntries(await Promise.all(texts))
}
