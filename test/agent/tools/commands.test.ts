import { execFileSync } from 'node:child_process'
import { chmod, mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test, vi } from 'vitest'
import { isMissing } from '../../support/missing.ts'
import { workspaceOf } from '../../workspace/support.ts'
import { type Project, projectWith } from './support.ts'

function git(cwd: string, ...args: string[]): string {
  const env = { ...process.env, GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_SYSTEM: '/dev/null' }
  const who = ['-c', 'user.name=Ada', '-c', 'user.email=ada@example.org']
  return execFileSync('git', [...who, ...args], { cwd, env, encoding: 'utf8', stdio: 'pipe' })
}

async function repositoryWith(files: Readonly<Record<string, string>>): Promise<Project> {
  const project = await projectWith(files)
  git(project.cwd, 'init', '--quiet', '--initial-branch=main')
  git(project.cwd, 'add', '.')
  return project
}

async function committedWith(files: Readonly<Record<string, string>>): Promise<Project> {
  const project = await repositoryWith(files)
  git(project.cwd, 'commit', '--quiet', '--message=The first one')
  return project
}

describe('bash_exec', () => {
  test('returns the output of both streams, and the exit code', async () => {
    const { run } = await projectWith({ 'a.txt': 'hello\n' })
    const ok = await run('bash_exec', { command: 'cat a.txt && [[ -f a.txt ]] && pwd | wc -l' })
    expect(ok).toMatchObject({ outcome: 'ok', exit_code: 0, output: 'hello\n1\n' })
    const bad = await run('bash_exec', { command: 'echo no >&2; exit 7' })
    expect(bad).toMatchObject({ outcome: 'error', exit_code: 7, output: 'no\n' })
  })

  test('says that apply_patch is a tool, if it is called as a program', async () => {
    const { run } = await projectWith({})
    const { output } = await run('bash_exec', {
      command: "apply_patch <<'END'\n*** Begin Patch\nEND",
    })
    expect(output).toContain('apply_patch is a tool and no program')
  })

  test('says what to do with a command that is too long', async () => {
    const { run } = await projectWith({})
    const command = `cat <<END\n${'x'.repeat(200_000)}\nEND`
    expect(await run('bash_exec', { command })).toMatchObject({
      ...{ outcome: 'error', exit_code: null },
      output: expect.stringMatching(
        /no program can get one of more than 131071\. Write it to a file/,
      ),
    })
  })

  test('treats exit code 1 as an answer for a search or a comparison, and for no other command', async () => {
    const { run } = await projectWith({ a: 'a\n', b: 'b\n' })
    for (const command of ['grep x a', 'cd . && diff a b', 'cat a | grep -c x', 'test -f x']) {
      expect(await run('bash_exec', { command }), command).toMatchObject({
        ...{ outcome: 'ok', exit_code: 1 },
      })
    }
    for (const command of ['false && grep a a', 'grep x a; false', 'echo $(grep x a); exit 1']) {
      expect(await run('bash_exec', { command }), command).toMatchObject({
        ...{ outcome: 'error', exit_code: 1 },
      })
    }
    expect(await run('bash_exec', { command: 'grep x none' })).toMatchObject({ outcome: 'error' })
  })

  test('keeps less of the output if the command failed, from its beginning and its end', async () => {
    const { run } = await projectWith()
    const failed = await run('bash_exec', { command: 'seq 1 4000; exit 3' })
    expect(failed).toMatchObject({ outcome: 'error', truncated: true })
    expect(Buffer.byteLength(failed.output)).toBeLessThanOrEqual(10_240)
    expect(failed.output).toMatch(/^1\n2\n.*\n3999\n4000\n$/s)
    const done = await run('bash_exec', { command: 'seq 1 4000' })
    expect(done).toMatchObject({ outcome: 'ok', truncated: false })
  })

  test('starts in a folder of the project, and in no other', async () => {
    const { run, outside } = await projectWith({ 'a/b/here': '', file: '' })
    const inFolder = (folder: string) => run('bash_exec', { command: 'ls', folder })
    expect(await inFolder('a/b')).toMatchObject({
      ...{ output: 'here\n[the next command starts in "a/b"]', outcome: 'ok' },
    })
    for (const folder of ['..', outside, 'a/missing', 'file']) {
      const { outcome, output } = await inFolder(folder)
      expect(outcome).toBe('error')
      expect(output).toContain(folder)
    }
    const started = await run('process_start', { command: 'ls', folder: 'a/b' })
    expect(started.output).toMatch(/^Background processes are not possible/)
  })

  test('stops at its time limit, with a note after the output', async () => {
    const { run } = await projectWith()
    const result = await run('bash_exec', { command: 'printf begun; sleep 1000', timeout_s: 0.3 })
    expect(result).toMatchObject({ outcome: 'timed_out', exit_code: null })
    expect(result.output).toMatch(
      /^begun\n\[stopped at its time limit of 0.3 s, with all its processes\. .*process_start.*timeout_s.*\]$/,
    )
  })

  test('stops with its run', async () => {
    const { cwd, run } = await projectWith()
    const controller = new AbortController()
    const result = run('bash_exec', { command: 'touch up; sleep 1000' }, controller.signal)
    await vi.waitFor(() => stat(join(cwd, 'up')), { timeout: 20_000 })
    controller.abort()
    expect(await result).toMatchObject({ outcome: 'aborted', exit_code: null })
  })

  test('stores a long output as an artifact', async () => {
    const { artifacts, run } = await projectWith()
    const result = await run('bash_exec', { command: 'seq 1 200000' })
    expect(result).toMatchObject({ outcome: 'ok', truncated: true, bytes: 1_288_895 })
    expect(result.output.startsWith('1\n2\n')).toBe(true)
    expect(result.output.endsWith('\n200000\n')).toBe(true)
    const artifact = await artifacts.read(result.sha256 ?? '')
    expect(artifact?.bytes).toBe(1_288_895)
    artifact?.stream.destroy()
  })

  test.each([
    { command: '' },
    { command: 'a\0b' },
    { command: 'ls', timeout_s: 0 },
    { command: 'ls', timeout_s: 3601 },
    { command: 'ls', timeout_s: '10' },
    { command: ['ls'] },
    { command: 'ls', cwd: '/' },
  ])('rejects %j', async (args) => {
    const { run } = await projectWith()
    expect(await run('bash_exec', args)).toMatchObject({ outcome: 'rejected', exit_code: null })
  })
})

describe.skipIf(isMissing('git'))('git_status', () => {
  test('shows the branch and the changes, and writes nothing', async () => {
    const { cwd, run } = await committedWith({ 'a.txt': 'a\n', 'b.txt': 'b\n' })
    await writeFile(join(cwd, 'a.txt'), 'changed\n')
    await writeFile(join(cwd, 'new.txt'), 'new\n')
    const index = await readFile(join(cwd, '.git/index'))
    const result = await run('git_status')
    expect(result).toMatchObject({ outcome: 'ok', output: '## main\n M a.txt\n?? new.txt\n' })
    expect(await readFile(join(cwd, '.git/index'))).toEqual(index)
  })

  test('runs no program that the repository names', async () => {
    const { cwd, run } = await committedWith({ 'a.txt': 'a\n' })
    const program = join(cwd, '.git', 'evil')
    await writeFile(program, `#!/bin/sh\ntouch "${join(cwd, 'ran')}"\n`)
    await chmod(program, 0o755)
    await writeFile(join(cwd, 'a.txt'), 'changed\n')
    for (const key of ['core.fsmonitor', 'diff.external', 'core.pager', 'diff.x.textconv']) {
      git(cwd, 'config', key, program)
    }
    await writeFile(join(cwd, '.git/info/attributes'), '*.txt diff=x\n')
    for (const tool of ['git_status', 'git_diff', 'git_log']) {
      expect(await run(tool)).toMatchObject({ outcome: 'ok' })
    }
    await expect(stat(join(cwd, 'ran'))).rejects.toThrow('ENOENT')
  })
})

describe.skipIf(isMissing('git'))('git_diff', () => {
  test('shows changes, staged or not', async () => {
    const { cwd, run } = await committedWith({ 'a.txt': 'a\n', 'b.txt': 'b\n' })
    expect((await run('git_diff')).output).toBe('No changes to tracked files.')
    await writeFile(join(cwd, 'a.txt'), 'staged\n')
    git(cwd, 'add', 'a.txt')
    await writeFile(join(cwd, 'b.txt'), 'not staged\n')
    const { output, outcome } = await run('git_diff')
    expect(outcome).toBe('ok')
    expect(output).toMatch(/-a\n\+staged\n.*-b\n\+not staged\n/s)
  })

  test('shows what is staged before the first commit', async () => {
    const { run } = await repositoryWith({ 'a.txt': 'first\n' })
    const result = await run('git_diff')
    expect(result).toMatchObject({ outcome: 'ok' })
    expect(result.output).toContain('+first\n')
  })

  test('shows only the project if it is a part of a repository', async () => {
    const { cwd, toolbox } = await committedWith({ 'a.txt': 'a\n', 'part/b.txt': 'b\n' })
    await writeFile(join(cwd, 'a.txt'), 'elsewhere\n')
    await writeFile(join(cwd, 'part/b.txt'), 'here\n')
    const call = { call_id: 'c', tool: 'git_diff', args: {}, read_only: true }
    const { signal } = new AbortController()
    const part = join(cwd, 'part')
    const context = { cwd: part, workspace: workspaceOf(part), signal }
    const { output } = await toolbox.execute(call, context)
    expect(output).toContain('+here')
    expect(output).not.toContain('elsewhere')
    const status = await toolbox.execute({ ...call, tool: 'git_status' }, context)
    expect(status.output).toBe('## main\n M b.txt\n')
  })
})

describe.skipIf(isMissing('git'))('git_log', () => {
  test('shows the last commits, newest first', async () => {
    const { cwd, run } = await committedWith({ 'a.txt': 'a\n' })
    git(cwd, 'commit', '--quiet', '--allow-empty', '--message=The second one')
    const { output, outcome } = await run('git_log')
    expect(outcome).toBe('ok')
    expect(output).toMatch(/Ada: The second one\n.*Ada: The first one\n.*a\.txt \| 1 \+/s)
  })

  test('reports that there are no commits yet', async () => {
    const { run } = await repositoryWith({})
    const result = await run('git_log')
    expect(result).toMatchObject({ outcome: 'error', exit_code: 128 })
    expect(result.output).toContain('does not have any commits yet')
  })
})

describe.skipIf(isMissing('git'))('outside of a repository', () => {
  test.each(['git_status', 'git_diff', 'git_log'])('%s reports it', async (tool) => {
    const { run } = await projectWith()
    const result = await run(tool)
    expect(result).toMatchObject({ outcome: 'error', exit_code: 128 })
    expect(result.output).toContain('not a git repository')
  })
})

/** A replacement for the Python of a project's virtual environment. It prints its arguments. */
async function withPython(project: Project, folder: string, script: string): Promise<Project> {
  const bin = join(project.cwd, folder, 'bin')
  await mkdir(bin, { recursive: true })
  await writeFile(join(bin, 'python'), `#!/bin/sh\n${script}\n`, { mode: 0o755 })
  return project
}

describe('run_pytest', () => {
  test.each(['.venv', 'venv'])(
    'runs the pytest of %s with each argument as it is',
    async (folder) => {
      const project = await withPython(await projectWith(), folder, 'printf "<%s>" "$@"; exit 1')
      const result = await project.run('run_pytest', { args: ['-k', 'a and b', '$HOME'] })
      expect(result).toMatchObject({ outcome: 'error', exit_code: 1 })
      expect(result.output).toBe('<-m><pytest><--color=no><-k><a and b><$HOME>')
    },
  )

  test.each([{ args: '-x tests' }, { args: [1] }, { args: ['a\0'] }, { path: 'tests' }])(
    'rejects %j',
    async (args) => {
      const { run } = await projectWith()
      expect(await run('run_pytest', args)).toMatchObject({ outcome: 'rejected' })
    },
  )
})

describe.skipIf(isMissing('pytest'))('run_pytest with a real pytest', () => {
  test('reports what failed, and leaves no compiled files behind', async () => {
    const test = 'def test_good():\n    pass\n\ndef test_bad():\n    assert 1 == 2\n'
    const { cwd, run } = await projectWith({ 'test_a.py': test })
    const all = await run('run_pytest')
    expect(all).toMatchObject({ outcome: 'error', exit_code: 1 })
    expect(all.output).toContain('1 failed, 1 passed')
    const good = await run('run_pytest', { args: ['test_a.py::test_good'] })
    expect(good).toMatchObject({ outcome: 'ok', exit_code: 0 })
    await expect(stat(join(cwd, '__pycache__'))).rejects.toThrow('ENOENT')
  })
})
