import { execFile } from 'node:child_process'
import { mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, onTestFinished } from 'vitest'
import { type CleanCopy, cleanCopies } from '../../src/carry/clean-copy.ts'
import type { Level } from '../../src/domain/isolation.ts'
import type { Command } from '../../src/runner/command.ts'
import { folderAt } from '../../src/sandbox/project-folder.ts'
import { type Project, Workspace } from '../../src/workspace/workspace.ts'
import { isolated, temporaryFolder } from '../runner/support.ts'

export const run = promisify(execFile)
const { signal } = new AbortController()

/** A server with a project, and copies of that. @param within the path of the project in the folder that its owner has */
export async function place(
  level: Level,
  owner: number | null = null,
  prepare: (dataDir: string) => Promise<void> = async () => {},
  within = '.',
) {
  const base = await temporaryFolder()
  await prepare(join(base, 'data'))
  const owned = join(base, 'project')
  const cwd = join(owned, within)
  await mkdir(cwd, { recursive: true })
  await run('chmod', ['755', base])
  const server = await isolated(level, { base })
  expect(server.isolation.level).toBe(level)
  const openWorkspace = (project: Project) => new Workspace(project, server.start)
  const { isolation } = server
  const open = cleanCopies({ isolation, openWorkspace, runCommand: server.run })
  const files = openWorkspace({ cwd })
  onTestFinished(() => files[Symbol.asyncDispose]())
  const folder = folderAt(cwd)
  // What a test leaves may be too deep for Node, or closed.
  const clean = 'chmod -R u+rwX "$1"; rm -rf "$1"'
  onTestFinished(() => run('bash', ['-c', clean, 'bash', cwd]).then(() => {}))
  const copied = (skip: readonly string[] = []) =>
    open({ project: { cwd, folder }, run: 'run', skip, signal })
  return {
    ...server,
    base,
    cwd,
    files,
    copied,
    bash: (script: string, how: Partial<Command> = { run: 'run' }) => server.bash(script, how),
    /** Fills the project with bash, as its owner has it. */
    fill: async (script: string) => {
      await run('bash', ['-c', script], { cwd })
      if (owner !== null) await run('chown', ['-hR', `${owner}:${owner}`, owned])
    },
    copy: async (skip: readonly string[] = []) => {
      const copy = (await copied(skip))._unsafeUnwrap()
      onTestFinished(() => copy[Symbol.asyncDispose]())
      return copy
    },
    /** The folders of all copies, on the disk of the server. */
    folders: async () => {
      const above = isolation.placeOfCopy('run').replace(/\/[^/]*$/, '')
      return (await readdir(above).catch(() => [])).map((name) => join(above, name))
    },
  }
}

export const bashIn = (copy: CleanCopy, script: string) =>
  copy.runCommand({
    file: 'bash',
    args: ['-c', script],
    cwd: copy.cwd,
    timeoutMs: 60_000,
    signal,
  })
