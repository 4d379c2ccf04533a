import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { BackgroundProcesses } from '../../src/agent/run/background-processes.ts'
import { createToolbox } from '../../src/agent/tools/toolbox.ts'
import { IsolationPolicy, type Level } from '../../src/domain/isolation.ts'
import { DEFAULT_LIMITS } from '../../src/runner/run-command.ts'
import { policyOfRun } from '../../src/server/commands.ts'
import { Workspace } from '../../src/workspace/workspace.ts'
import { BARE } from '../agent/tools/bare-call.ts'
import { isolated, temporaryFolder } from '../runner/support.ts'
import { isMissing } from '../support/missing.ts'

const withBwrap = test.skipIf(isMissing('bwrap'))

/** A server with a project that has a hook of git, and a tool chain in the home of its user. */
async function place(level: Level | 'auto', path = process.env.PATH) {
  const base = await temporaryFolder()
  const [project, home] = [join(base, 'project'), join(base, 'home')]
  for (const path of [join(project, '.git/hooks'), join(home, '.nvm/bin')]) {
    await mkdir(path, { recursive: true })
  }
  await writeFile(join(project, '.retrai.yml'), 'check_command: "true"\n')
  const env = { HOME: home, PATH: `${path}:${join(home, '.nvm/bin')}` }
  const { isolation, run, start } = await isolated(level, { base, env })
  const toolbox = createToolbox({
    runCommand: run,
    startProcess: start,
    artifacts: { put: async () => '' },
  })
  const workspace = new Workspace({ cwd: project }, start)
  onTestFinished(() => workspace[Symbol.asyncDispose]())
  const processes = new BackgroundProcesses()
  onTestFinished(() => processes[Symbol.asyncDispose]())
  const { signal } = new AbortController()
  const calling = (tool: string, more: object) => (command: string, policy: IsolationPolicy) =>
    toolbox.execute(
      { call_id: '1', tool, args: { command, ...more }, read_only: false },
      { ...BARE, cwd: project, workspace, signal, runId: 'run', policy, processes },
    )
  const background = calling('process_start', { wait_for: 'on' })
  const bash = calling('bash_exec', {})
  const policy = async (atLeast: Level | null = null) => {
    const made = await policyOfRun(isolation, DEFAULT_LIMITS, project, {
      atLeast,
      network: 'none',
    })
    return IsolationPolicy.parse(made._unsafeUnwrap())
  }
  return { project, isolation, policy, bash, background, processes }
}

withBwrap('a policy names what commands see by roles, and results what is different', async () => {
  const { policy, project, bash } = await place('namespaces')
  const made = await policy()
  expect(made).toMatchObject({ level: 'namespaces', network: 'none' })
  expect(made.visible).toEqual(expect.arrayContaining(['system', 'tools:~/.nvm']))
  expect(made.writable).toEqual(['tmp', 'home', 'project'])
  expect(made.protected).toEqual(['.git/hooks', '.retrai.yml'])
  expect(JSON.stringify(made)).not.toContain(project)
  // Another project with the same parts has the same policy.
  expect(await (await place('namespaces')).policy()).toEqual(made)

  const same = await bash('echo "[core]" >.git/config', made)
  expect(same).not.toHaveProperty('isolation')
  expect(same).not.toHaveProperty('killed_by')
  expect((await bash('true', made)).isolation).toEqual({
    protected: ['.git/hooks', '.git/config', '.retrai.yml'],
    policy_sha256: expect.not.stringMatching(made.policy_sha256),
  })
})

withBwrap(
  'a process in the background is isolated as the run says, beside its commands',
  async () => {
    const { policy, background, bash, processes } = await place('namespaces')
    const made = await policy()
    const started = await background(
      'sleep 98764 & echo on; grep -c : /proc/net/dev; sleep 98764',
      made,
    )
    expect(started.output).toMatch(/^on\n/)
    expect(started).not.toHaveProperty('isolation')
    // Only the network is shared: no other process is visible, and loopback is the only interface.
    const beside = await bash(
      'grep -c : /proc/net/dev; cat /proc/[0-9]*/cmdline | tr "\\\\0" " "',
      made,
    )
    expect(beside).not.toHaveProperty('isolation')
    expect(beside.output).toMatch(/^1\n/)
    expect(beside.output).not.toContain('98764')
    await processes.stopAll()
    expect(processes.list().map(({ state }) => state)).toEqual(['was stopped'])
  },
)

withBwrap('a result shows that its command was isolated less than its run began', async () => {
  const made = await (await place('namespaces')).policy()
  const { background, bash } = await place('none')
  expect(await bash('true', made)).toMatchObject({
    outcome: 'ok',
    isolation: { level: 'none', network: 'host' },
  })
  const { isolation } = await background('echo on', made)
  expect(isolation).toMatchObject({ level: 'none', visible: ['everything'] })
})

test.runIf(!isMissing('bwrap') && !isMissing('landlock')).each(['namespaces', 'landlock'] as const)(
  'at the level %s a command reports its folder, and no other command can write the report',
  async (level) => {
    const { policy, bash, background, processes, project } = await place(level)
    const made = await policy()
    await mkdir(join(project, 'a'))
    const reports = join(project, '../data/checks')
    await background(
      `echo on; while :; do for f in ${reports}/*; do echo "$PWD/a" >|"$f/folder"; done 2>/dev/null; sleep 0.02; done`,
      made,
    )
    expect(await bash('trap - EXIT; sleep 0.5', made)).not.toHaveProperty('folder')
    const result = await bash('cd a', made)
    expect(result).toMatchObject({ outcome: 'ok', folder: 'a' })
    expect(result).not.toHaveProperty('isolation')
    await processes.stopAll()
  },
)

withBwrap(
  'a run that asks for a level is isolated at that level on a server with less',
  async () => {
    const { policy, bash } = await place('none')
    const made = await policy('namespaces')
    expect(made).toMatchObject({ level: 'namespaces', at_least: 'namespaces' })
    const result = await bash('hostname', made)
    expect(result).toMatchObject({ outcome: 'ok', output: 'sandbox\n' })
    expect(result).not.toHaveProperty('isolation')
  },
)

test('if a server cannot keep the level that a run asks for, its commands are refused', async () => {
  const { bash, policy } = await place('none', '/nowhere')
  // A level of an earlier version, which all levels but the last one keep.
  const result = await bash('true', { ...(await policy()), at_least: 'uid' })
  expect(result.output).toContain('its program is not installed')
  expect(result).toMatchObject({ outcome: 'not_isolated', exit_code: null })
})

test('records of earlier versions may name levels that there are not any more', async () => {
  const { policy } = await place('none')
  const recorded = { ...(await policy()), level: 'seatbelt', at_least: 'uid' }
  expect(IsolationPolicy.parse(recorded)).toEqual(recorded)
})
