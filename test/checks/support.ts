import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { findGoal } from '../../src/checks/catalogue.ts'
import type { GoalVerdict } from '../../src/checks/goal.ts'
import type { RunConfig, ShellGoal } from '../../src/domain/run-config.ts'
import type { RunCommand } from '../../src/runner/command.ts'
import { runCommand } from '../../src/runner/run-command.ts'
import type { Workspace } from '../../src/workspace/workspace.ts'
import { temporaryFolder, writeFiles } from '../runner/support.ts'
import { workspaceOf } from '../workspace/support.ts'

export type Files = Readonly<Record<string, string>>

export const configOf = (
  goal: string,
  cwd: string,
  shell_goal: ShellGoal | null = null,
): RunConfig => ({
  goal,
  cwd,
  model_name: 'some-model',
  max_iterations: 20,
  hitl_enabled: false,
  max_cost_usd: null,
  max_tokens: null,
  max_seconds: null,
  shell_goal,
})

/** A project in a temporary folder that is removed after the test. */
export async function project(files: Files): Promise<string> {
  const cwd = await temporaryFolder()
  await writeFiles(cwd, files)
  return cwd
}

export const fixture = (name: string): Promise<string> =>
  readFile(join(import.meta.dirname, 'fixtures', name), 'utf8')

/** A folder of shell scripts in place of programs. */
export async function programs(scripts: Files): Promise<string> {
  const folder = await temporaryFolder()
  for (const [name, body] of Object.entries(scripts)) {
    await writeFile(join(folder, name), `#!/bin/sh\n${body}\n`, { mode: 0o755 })
  }
  return folder
}

/** Runs real commands, with another PATH. */
export const withPath =
  (path: string): RunCommand =>
  (command) =>
    runCommand({ ...command, env: { ...command.env, PATH: path } })

/** Finds programs in this folder first. */
export const withPrograms = (folder: string): RunCommand =>
  withPath(`${folder}:${process.env.PATH ?? ''}`)

type CheckOptions = {
  readonly runCommand?: RunCommand
  readonly signal?: AbortSignal
  /** The files of the project, if not opened for this check. */
  readonly files?: Workspace
  readonly shellGoal?: ShellGoal
  readonly config?: Partial<RunConfig>
}

export async function check(
  name: string,
  cwd: string,
  options: CheckOptions = {},
): Promise<GoalVerdict> {
  return findGoal(name).check({
    config: { ...configOf(name, cwd, options.shellGoal), ...options.config },
    signal: options.signal ?? new AbortController().signal,
    runCommand: options.runCommand ?? runCommand,
    files: options.files ?? workspaceOf(cwd),
  })
}
