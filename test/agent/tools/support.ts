import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { CallContext, Toolbox } from '../../../src/agent/tools/tool.ts'
import { createToolbox } from '../../../src/agent/tools/toolbox.ts'
import { createArtifacts } from '../../../src/artifacts/artifacts.ts'
import type { PayloadOf } from '../../../src/domain/records.ts'
import type { OpenCall } from '../../../src/domain/state.ts'
import { runCommand } from '../../../src/runner/run-command.ts'
import type { Workspace } from '../../../src/workspace/workspace.ts'
import { startProcess, temporaryFolder } from '../../runner/support.ts'
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
  /** Runs a tool in the project, like a call of the model. */
  readonly run: Run
  /** The same for a folder that is the project of its run. */
  readonly runIn: (cwd: string, tool: string, args?: Args) => ReturnType<Run>
}

/** A project with these files, its tools, and by default real processes. */
export async function projectWith(
  files: Readonly<Record<string, string | Buffer>> = {},
  options: Partial<Parameters<typeof createToolbox>[0]> = {},
): Promise<Project> {
  const base = await temporaryFolder()
  const cwd = join(base, 'project')
  const outside = join(base, 'outside')
  await mkdir(cwd)
  await mkdir(outside)
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(cwd, path)), { recursive: true })
    await writeFile(join(cwd, path), content)
  }
  const artifacts = createArtifacts(join(base, 'artifacts'))
  const toolbox = createToolbox({ runCommand, startProcess, artifacts, ...options })
  const workspace = workspaceOf(cwd)
  const run: Run = (tool, args = {}, signal = new AbortController().signal, context = {}) => {
    const call = { call_id: 'call-1', tool, args, read_only: false }
    return toolbox.execute(call, { ...BARE, cwd, workspace, signal, ...context })
  }
  const runIn: Project['runIn'] = (folder, tool, args = {}) =>
    run(tool, args, undefined, { cwd: folder, workspace: workspaceOf(folder) })
  return { cwd, outside, workspace, toolbox, artifacts, run, runIn }
}
