import { execFileSync } from 'node:child_process'
import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { BackgroundProcesses } from '../../../src/agent/run/background-processes.ts'
import { factsOf } from '../../../src/agent/run/review.ts'
import { type CallContext, succeeded } from '../../../src/agent/tools/tool.ts'
import { createToolbox } from '../../../src/agent/tools/toolbox.ts'
import type { Touches } from '../../../src/domain/approvals/rules.ts'
import type { RequestedCall } from '../../../src/domain/records.ts'
import { runCommand } from '../../../src/runner/run-command.ts'
import { startProcess } from '../../runner/support.ts'
import { isMissing } from '../../support/missing.ts'
import { workspaceOf } from '../../workspace/support.ts'
import { BARE } from './bare-call.ts'
import { allFilesOf, projectWith } from './support.ts'

/** Each file holds a text that no other has. */
const FILES = {
  'a.txt': 'alpha-text\n',
  'docs/b.txt': 'beta-text\n',
  'src/c.ts': 'gamma-text\n',
  'other/secret.txt': 'secret-text\n',
}

type Files = Readonly<Record<string, string>>
type Case = {
  readonly tool: string
  readonly args: RequestedCall['args']
  /** The files that the call creates, changes or removes. */
  readonly changes?: readonly string[]
  /** Files whose text is in the result. */
  readonly shows?: readonly string[]
  /** Whether it is about a process that was started before it, whose id is `ID` in its arguments. */
  readonly hasProcess?: boolean
}

const patch = (...lines: string[]) => ['*** Begin Patch', ...lines, '*** End Patch', ''].join('\n')
const UPDATE = ['*** Update File: a.txt', '@@', '-alpha-text', '+other']

const CASES: readonly Case[] = [
  { tool: 'file_read', args: { path: 'a.txt' }, shows: ['a.txt'] },
  { tool: 'file_read', args: { path: 'link.txt' }, shows: ['other/secret.txt'] },
  { tool: 'file_list', args: { path: 'docs' } },
  { tool: 'file_list', args: {} },
  { tool: 'find_files', args: { pattern: '**/*.txt' } },
  {
    tool: 'grep_search',
    args: { pattern: 'text' },
    shows: ['a.txt', 'docs/b.txt', 'src/c.ts', 'other/secret.txt'],
  },
  { tool: 'grep_search', args: { pattern: 'text', path: 'docs' }, shows: ['docs/b.txt'] },
  { tool: 'file_write', args: { path: 'a.txt', content: 'x' }, changes: ['a.txt'] },
  { tool: 'file_write', args: { path: 'new/d.txt', content: 'x' }, changes: ['new/d.txt'] },
  { tool: 'file_write', args: { path: 'link.txt', content: 'x' }, changes: ['other/secret.txt'] },
  {
    tool: 'file_patch',
    args: { path: 'docs/b.txt', old: 'beta', new: 'x' },
    changes: ['docs/b.txt'],
  },
  {
    tool: 'apply_patch',
    args: { input: patch(...UPDATE, '*** Add File: e.txt', '+new') },
    changes: ['a.txt', 'e.txt'],
  },
  { tool: 'apply_patch', args: { input: patch('*** Delete File: a.txt') }, changes: ['a.txt'] },
  {
    tool: 'apply_patch',
    args: { input: patch('*** Update File: a.txt', '*** Move to: f.txt', ...UPDATE.slice(1)) },
    changes: ['a.txt', 'f.txt'],
  },
  { tool: 'file_delete', args: { path: 'a.txt' }, changes: ['a.txt'] },
  { tool: 'file_rename', args: { path: 'a.txt', to: 'g.txt' }, changes: ['a.txt', 'g.txt'] },
  {
    tool: 'file_rename',
    args: { path: 'docs', to: 'papers' },
    changes: ['docs/b.txt', 'papers/b.txt'],
  },
  {
    tool: 'bash_exec',
    args: { command: 'echo x > h.txt; cat a.txt' },
    changes: ['h.txt'],
    shows: ['a.txt'],
  },
  { tool: 'run_pytest', args: {}, changes: ['pytest-ran.txt'] },
  { tool: 'output_read', args: { artifact: 'f'.repeat(64) } },
  {
    tool: 'process_start',
    args: { command: 'echo x > i.txt; echo done', wait_for: 'done' },
    changes: ['i.txt'],
  },
  { tool: 'process_read', args: {}, hasProcess: true },
  { tool: 'process_stop', args: { id: 'ID' }, hasProcess: true },
  { tool: 'run_subagent', args: { instructions: 'Write.' }, changes: ['sub.txt'] },
  { tool: 'update_plan', args: { steps: [{ step: 'Look', status: 'pending' }] } },
]

const GIT_CASES: readonly Case[] = [
  { tool: 'git_status', args: {} },
  { tool: 'git_log', args: {} },
  { tool: 'git_diff', args: {}, shows: ['a.txt'] },
]

function differences(before: Files, after: Files): string[] {
  const all = new Set([...Object.keys(before), ...Object.keys(after)])
  return [...all].filter((path) => before[path] !== after[path]).sort()
}

/** Whether rules about paths or commands hold for a call that works with this file. */
function isDeclared(path: string, { paths = [], trees = [], commands = [] }: Touches): boolean {
  const below = trees.flat().some((tree) => tree === '.' || path.startsWith(`${tree}/`))
  return commands.length > 0 || paths.flat().includes(path) || below
}

async function play(
  { tool, args, hasProcess = false }: Omit<Case, 'changes' | 'shows'>,
  files: Files,
) {
  const { cwd, workspace, artifacts } = await projectWith(files)
  await symlink('other/secret.txt', join(cwd, 'link.txt'))
  // This runs in the place of Python, so that pytest need not be installed.
  await mkdir(join(cwd, '.venv/bin'), { recursive: true })
  const python = '#!/bin/sh\necho x > pytest-ran.txt\n'
  await writeFile(join(cwd, '.venv/bin/python'), python, { mode: 0o755 })
  const toolbox = createToolbox({ runCommand, startProcess, artifacts, subagents: true })
  await using processes = new BackgroundProcesses()
  const context: CallContext = {
    ...BARE,
    cwd,
    workspace,
    signal: new AbortController().signal,
    processes,
    runId: 'r',
    startSubagent: async () => {
      await writeFile(join(cwd, 'sub.txt'), 'x')
      return succeeded('Done.')
    },
  }
  const callOf = (name: string, given: Case['args']) => {
    return { call_id: 'c', tool: name, args: { ...given }, read_only: false }
  }
  const start = callOf('process_start', { command: 'sleep 60', wait_s: 0 })
  const started = hasProcess ? await toolbox.execute(start, context) : null
  const id = /\[process (\S+)/.exec(started?.output ?? '')?.[1] ?? 'none'
  const call = callOf(tool, 'id' in args ? { ...args, id } : args)
  const facts = await factsOf(call, toolbox.find(tool), { cwd, workspace })
  if (files === GIT_FILES) commitAll(cwd)
  const before = await allFilesOf(cwd)
  const { output, outcome } = await toolbox.execute(call, context)
  const changed = differences(before, await allFilesOf(cwd))
  return { toolbox, touches: facts?.touches ?? null, output, outcome, changed }
}

const GIT_FILES = { ...FILES }

/** One commit, after which one file is changed and one is only touched. */
function commitAll(cwd: string): void {
  const git = (...args: string[]) => execFileSync('git', ['-C', cwd, ...args], { stdio: 'ignore' })
  const who = ['-c', 'user.name=a', '-c', 'user.email=a@b.c']
  git('init')
  git('add', '.')
  git(...who, 'commit', '-m', 'first')
  const change = 'echo more >> a.txt; touch -d 2001-01-01 docs/b.txt'
  execFileSync('bash', ['-c', change], { cwd })
}

const textsOf = (path: keyof typeof FILES) => FILES[path].trim()

async function check(each: Case, files: Files): Promise<void> {
  const { tool, changes = [], shows = [] } = each
  const { toolbox, touches, output, outcome, changed } = await play(each, files)
  if (touches === null) throw new Error(`${tool} does not say what it touches`)
  const told = Object.keys(FILES) as (keyof typeof FILES)[]
  const shown = told.filter((path) => output.includes(textsOf(path)))
  expect({ outcome, changed, shown }).toEqual({
    outcome: tool === 'output_read' ? 'error' : 'ok',
    changed: [...changes].sort(),
    shown: told.filter((path) => shows.includes(path)),
  })
  if (toolbox.readOnly.has(tool)) expect(changed).toEqual([])
  // The calls of a sub-agent are reviewed one by one.
  if (tool === 'run_subagent') return
  for (const path of [...changed, ...shown]) {
    expect(isDeclared(path, touches), `${tool} works with ${path}`).toBe(true)
  }
}

const at = (cwd: string, root?: string) => {
  const workspace = workspaceOf(cwd)
  return { cwd, workspace, runId: 'r', ...(root === undefined ? {} : { root }) }
}

describe('what is compared with rules', () => {
  const FOUND = { 'x/.retrai.yml': 'check_command: make\n', 'y/z/a.txt': '', '.github/ci.yml': '' }

  async function touchesOf(
    tool: string,
    args: RequestedCall['args'],
    folder = '.',
    shell?: string,
  ) {
    const { cwd, artifacts } = await projectWith(FOUND)
    const toolbox = createToolbox({ runCommand, artifacts, subagents: true })
    const root = folder === '.' ? undefined : cwd
    const place = { ...at(join(cwd, folder), root), ...(shell && { shellFolder: shell }) }
    const facts = await factsOf({ call_id: 'c', tool, args }, toolbox.find(tool), place)
    return facts?.touches
  }

  const subagent = (args: RequestedCall['args']) =>
    touchesOf('run_subagent', { instructions: 'Do it.', ...args })

  test('is the check of a sub-agent, where it runs', async () => {
    expect(await subagent({})).toMatchObject({ commands: [], trees: [] })
    expect(await subagent({ goal: 'instructions' })).toMatchObject({ commands: [] })
    const checked = await subagent({ check: { command: 'touch a' }, folder: 'y' })
    expect(checked).toMatchObject({ commands: ["cd 'y'", 'touch a'], trees: [['y']] })
    expect(await subagent({ goal: 'npm-test' })).toMatchObject({ commands: ['npm test'] })
  })

  test('is any command if files of the project say what the check of a sub-agent runs', async () => {
    expect((await subagent({ goal: 'shell-goal' }))?.commands).toEqual([null])
    expect((await subagent({ goal: 'all-of' }))?.commands).toEqual([null])
    expect((await subagent({ goal: 'npm-test', folder: 'x' }))?.commands).toContain(null)
    const check = { command: 'true' }
    expect((await subagent({ goal: 'lint', check, folder: 'x' }))?.commands).toContain(null)
    expect((await subagent({ check, folder: 'x' }))?.commands).not.toContain(null)
  })

  test('is the folder where a shell starts', async () => {
    const of = async (args: object, folder?: string, shell?: string) =>
      (await touchesOf('bash_exec', { command: 'sh a.sh', ...args }, folder, shell))?.commands
    expect(await of({})).toEqual(['sh a.sh'])
    expect(await of({ folder: '.' })).toEqual(['sh a.sh'])
    expect(await of({ folder: 'y/z' })).toEqual(["cd 'y/z'", 'sh a.sh'])
    expect(await of({}, '.', 'y')).toEqual(["cd 'y'", 'sh a.sh'])
    expect(await of({ folder: 'z' }, 'y')).toEqual(["cd 'y/z'", 'sh a.sh'])
    expect(await of({}, 'y')).toEqual(["cd 'y'", 'sh a.sh'])
    const started = await touchesOf('process_start', { command: 'a' }, '.', 'y')
    expect(started?.commands).toEqual(['a'])
  })

  test('is a path from the project of the run that a person started', async () => {
    const written = await touchesOf('file_write', { path: 'new.yml', content: '' }, '.github')
    expect(written?.paths).toEqual([['.github/new.yml']])
    const read = await touchesOf('grep_search', { pattern: 'x' }, 'y/z')
    expect(read?.trees).toEqual([['y/z']])
  })

  test('is unknown if that project is not above', async () => {
    const { cwd, artifacts, outside } = await projectWith(FOUND)
    const toolbox = createToolbox({ runCommand, artifacts })
    const call = { call_id: 'c', tool: 'file_read', args: { path: 'a' } }
    const tool = toolbox.find(call.tool)
    expect(await factsOf(call, tool, at(cwd, outside))).toMatchObject({ touches: null })
    expect(await factsOf(call, tool, { ...at(cwd), root: null })).toMatchObject({ touches: null })
  })
})

const titled = (cases: readonly Case[]) =>
  cases.map((each) => [`${each.tool} ${JSON.stringify(each.args)}`, each] as const)

describe('what a tool declares that it touches is what it touches', () => {
  test.each(titled(CASES))('%s', async (_, each) => check(each, FILES))

  test.skipIf(isMissing('git')).each(titled(GIT_CASES))('%s', async (_, each) =>
    check(each, GIT_FILES),
  )

  test('every tool is compared, and each that may change something is seen to change it', async () => {
    const { toolbox } = await play({ tool: 'file_list', args: {} }, FILES)
    const all = [...CASES, ...GIT_CASES]
    const names = toolbox.specs.map(({ name }) => name)
    expect([...new Set(all.map(({ tool }) => tool))].sort()).toEqual(names.sort())
    const changing = new Set(all.filter(({ changes }) => changes !== undefined).map((c) => c.tool))
    const quiet = names.filter((name) => !toolbox.readOnly.has(name) && !changing.has(name))
    // A process that ends may have changed something before.
    expect(quiet).toEqual(['process_stop'])
  })
})
