import { mkdtemp, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import type { ScriptedRequest, Turn } from '../../examples/scripted-model/script.ts'
import type { ScriptedModel } from '../../examples/scripted-model/server.ts'
import { startCuttingProxy } from '../client/cutting-proxy.ts'
import { FIXTURE } from '../mcp/support.ts'
import { isMissing } from '../support/missing.ts'
import { portOf } from '../support/serve.ts'
import { json } from '../support/server.ts'
import { bash, Site, type SiteServer } from '../support/site.ts'
import {
  begin as beginWith,
  cleanEnv,
  type Finished,
  jsonLines,
  kept,
  refused,
  retrai,
  start,
  startAtTerminal,
} from './support.ts'

const UNKNOWN = '550e8400-e29b-41d4-a716-446655440000'
const UUID = /[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}/

/** Python makes the terminal. */
const atTerminal = test.skipIf(isMissing('python3'))

let site: Site
let model: ScriptedModel
let server: SiteServer
let env: NodeJS.ProcessEnv

/**
 * The second iteration reaches the goal. In a `waiting` project, the first does, and its command waits for the file `go`.
 */
function play({ turn, messages }: ScriptedRequest): Turn {
  if (turn % 2 === 1) return { text: 'It is done.' }
  const waits = messages.some(({ content }) => content.includes('/waiting-'))
  if (waits) return bash('until test -e go; do sleep 0.02; done; touch done')
  return bash(turn === 0 ? "printf 'a \\033[31mred\\033[0m word'" : 'touch done')
}

beforeAll(async () => {
  site = await Site.open()
  model = await site.model(play)
  const docs = { command: process.execPath, args: [FIXTURE, 'good'] }
  const servers = await site.write('servers.json', JSON.stringify({ mcpServers: { docs } }))
  server = await site.serve('data', { model, env: { RETRAI_MCP_SERVERS: servers } })
  env = { ...cleanEnv(), RETRAI_SERVER: server.url }
})
afterAll(() => site.close())

/** A project with the goal that a file `done` exists. */
async function project(kind: 'plain' | 'waiting' = 'plain'): Promise<string> {
  const cwd = await mkdtemp(site.path(`${kind}-`))
  await writeFile(join(cwd, '.retrai.yml'), 'check_command: test -e done\n')
  return cwd
}

const cli = (...args: string[]): Promise<Finished> => retrai(args, env)

const begin = (...args: string[]) => beginWith(args, env)

const fails = (why: string | RegExp, ...args: string[]) => refused(args, why, env)

async function detached(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await cli('run', 'shell-goal', '--detach', ...args)
  expect([code, stderr]).toEqual([0, expect.stringContaining(`retrai watch ${stdout.trim()}`)])
  expect(stdout.trim()).toMatch(new RegExp(`^${UUID.source}$`))
  return stdout.trim()
}

describe('retrai run', () => {
  test('prints what happens and ends with 0 when the goal is achieved', async () => {
    const cwd = await project()
    const { code, stdout, stderr } = await cli('run', 'shell-goal', '--cwd', cwd, '--model', 'm1')
    expect([code, stderr]).toEqual([0, ''])
    const lines = stdout.trimEnd().split('\n')
    expect(lines[0]).toMatch(new RegExp(`^Run ${UUID.source}: shell-goal in ${cwd}, by m1$`))
    expect(lines[1]).toBe('   2  it 0  step_start         evaluate')
    expect(stdout).toContain('tool_result        bash_exec exit 0: a red word\n')
    expect(stdout).toMatch(/goal_check {9}not reached: .*\n/)
    expect(lines.at(-4)).toMatch(/run_end {12}achieved: `test -e done` succeeded/)
    expect(lines.at(-3)).toMatch(/^Run achieved \(2 iterations, \d+ tokens, cost unknown\)$/)
    expect(lines.at(-2)).toMatch(/^done +\+0 -0 +new$/)
    // No colours reach a pipe, neither of this program nor of the tools.
    expect(stdout).not.toContain('\x1b')
  })

  test('ends with 1 when the run fails, and a watch of it begins where it should', async () => {
    const args = ['--cwd', await project(), '--set', 'max_iterations=1']
    const { code, stdout } = await cli('run', 'shell-goal', ...args)
    expect(code).toBe(1)
    expect(stdout).toMatch(
      /run_end {12}failed: Stopped by max_iterations.*\nRun failed \(1 iteration, /,
    )
    const [runId = ''] = UUID.exec(stdout) ?? []
    const all = await cli('watch', runId, '--kinds', 'all', '--json')
    expect(all.code).toBe(1)
    const events = jsonLines(all)
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_, index) => index))
    const behind = await cli('watch', runId, '--from', String(events.length))
    expect(behind.code).toBe(1)
    expect(behind.stdout).toMatch(/\nRun failed: nothing has happened after seq \d+\n$/)
    const late = await cli('watch', runId, '--from', '10000')
    expect([late.code, late.stderr]).toEqual([3, expect.stringContaining('after=9999 is beyond')])
  })

  test('ends with 2 when somebody aborts the run', async () => {
    const running = begin('run', 'shell-goal', '--cwd', await project('waiting'))
    const [runId = ''] = await running.prints(UUID)
    await running.prints(/tool_call/)
    const aborted = await cli('abort', runId, '--reason', 'too slow')
    expect(aborted).toEqual({ code: 0, stdout: `${runId} aborted\n`, stderr: '' })
    expect(await running.exit).toBe(2)
    expect(running.stdout).toContain('aborted: too slow\nRun aborted (')
    await fails('The run has ended', 'abort', runId)
  })

  test('--json prints events, as watch --json does later, here of a run with MCP servers of its own', async () => {
    const mine = [{ name: 'mine', command: process.execPath, args: [FIXTURE, 'good'] }]
    const servers = await site.write('run-servers.json', JSON.stringify(['docs', ...mine]))
    const mcp = ['--set', `mcp_servers=@${servers}`]
    const ran = await cli('run', 'shell-goal', '--cwd', await project(), ...mcp, '--json')
    expect([ran.code, ran.stderr]).toEqual([0, ''])
    const events = jsonLines(ran)
    expect(events.at(-1)).toMatchObject({ kind: 'run_end', payload: { achieved: true } })
    const runId = events[0].run_id
    expect(await cli('watch', runId, '--json')).toEqual(ran)
    const json = ['--json', '--kinds', 'goal_check', '--from', String(events[5].seq + 1)]
    const checks = events.filter(({ kind, seq }) => kind === 'goal_check' && seq > events[5].seq)
    expect(jsonLines(await cli('watch', runId, ...json))).toEqual(checks)
    const asked = model.requests.findLast(({ tools }) => tools.includes('mcp__mine__look'))
    expect(asked?.tools).toContain('mcp__docs__look')
    await fails('lower-case letters', 'run', 'lint', '--set', 'mcp_servers=[{"name": "Mine"}]')
  })

  test('prints everything that is wrong with a request', async () => {
    const cwd = site.path('nowhere')
    const wrong = new RegExp(`^retrai: There is no goal "dance".*${cwd} does not exist`)
    await fails(wrong, 'run', 'dance', '--cwd', cwd)
  })
})

describe('a human check', () => {
  async function waiting() {
    const args = ['--set', 'hitl_enabled=true', '--cwd', await project()]
    const running = begin('run', 'shell-goal', ...args)
    const [, runId = ''] = await running.prints(/retrai abort (\S+)\n/)
    return { running, runId }
  }

  test('is shown without a terminal, and retrai approve answers it', async () => {
    const { running, runId } = await waiting()
    expect(running.stderr).toContain(`The run waits for a person: retrai approve ${runId}, or`)
    const shown = await cli('show', runId)
    expect(shown.stdout).toMatch(/^waits for {2}Iteration 1 of at most 20 did not reach the goal/m)
    expect(shown.stdout).toContain(`retrai approve ${runId}\n`)

    const late = begin('watch', runId)
    await late.prints(/retrai abort/)

    const approved = await cli('approve', runId, '--reason', 'go on')
    expect(approved).toEqual({ code: 0, stdout: `${runId} running\n`, stderr: '' })
    expect([await running.exit, await late.exit]).toEqual([0, 0])
    expect(running.stdout).toContain('human_check_response local: approve: go on\n')
    // A check that is answered is history.
    expect((await cli('watch', runId)).stderr).toBe('')
  })

  test('retrai abort ends the run, and retrai show says why, and which goals it had', async () => {
    const checks = ['--check', 'test -e done', '--check', 'true', '--set', 'hitl_enabled=true']
    const running = begin('run', ...checks, '--cwd', await project())
    const [, runId = ''] = await running.prints(/retrai abort (\S+)\n/)
    expect((await cli('abort', runId, '--reason', 'the wrong folder')).code).toBe(0)
    expect(await running.exit).toBe(2)
    const { stdout } = await cli('show', runId)
    expect(stdout).toMatch(/^goals {6}test -e done; true$/m)
    expect(stdout).toMatch(/^reason {5}.*`test -e done` failed/m)
    expect(stdout).toMatch(/^ended by {3}the wrong folder$/m)
  })

  atTerminal('is asked about at a terminal, can be left open, and is withdrawn', async () => {
    const args = ['run', 'shell-goal', '--set', 'hitl_enabled=true', '--cwd', await project()]
    const running = kept(startAtTerminal(args, env))
    const [runId = ''] = await running.prints(UUID)
    const late = kept(startAtTerminal(['watch', runId], env))
    await Promise.all([running, late].map((each) => each.prints(/\[a\]pprove/)))
    late.type('\n')
    await late.prints(/retrai abort/)
    late.type('\x03')
    expect(await late.exit).toBe(130)
    expect(JSON.parse((await cli('show', runId, '--json')).stdout).status).toBe('awaiting_human')
    expect((await cli('approve', runId)).code).toBe(0)
    expect(await running.exit).toBe(0)
  })
})

describe('a limit that pauses', () => {
  test('a paused run says how it continues, and a raised limit continues it', async () => {
    const body = { goal: 'shell-goal', cwd: await project(), max_iterations: 1, on_limit: 'pause' }
    const created = await fetch(`${server.url}/api/runs`, json('POST', body))
    const { run_id: runId } = (await created.json()) as { run_id: string }
    const watching = begin('watch', runId)
    await watching.prints(/The run is paused: retrai configure \S+ --set max_iterations=N, or\n/)
    expect(watching.stdout).toContain(
      'run_paused         Stopped by max_iterations: the goal was not reached in 1\n',
    )
    const shown = await cli('show', runId)
    expect(shown.stdout).toMatch(/^status {5}paused$/m)
    expect(shown.stdout).toMatch(/^waits for {2}Stopped by max_iterations/m)
    expect(shown.stdout).toContain(`retrai configure ${runId} --set max_iterations=N, or\n`)
    expect((await cli('runs', '--status', 'paused')).stdout).toContain(runId.slice(0, 8))
    await fails('Stopped by max_iterations', 'approve', runId)
    await fails('max_seconds is too low', 'configure', runId, '--set', 'max_seconds=0.0001')
    const limits = ['max_iterations=5', 'max_tokens=90000', 'max_cost_usd=null'].flatMap(
      (limit) => ['--set', limit],
    )
    const raised = await cli('configure', runId, ...limits, '--reason', 'nearly')
    expect(raised).toEqual({ code: 0, stdout: `${runId} running\n`, stderr: '' })
    expect(await watching.exit).toBe(0)
    const changed = await cli('watch', runId, '--kinds', 'run_config_changed')
    expect(changed.stdout).toContain('max_cost_usd is now no limit, max_tokens is now 90000')
    expect(watching.stdout).toContain('run_resumed        local: the run continues: nearly\n')
  })

  atTerminal('is what a run at a terminal has, and Ctrl+C does not end the run', async () => {
    const args = ['run', 'shell-goal', '--cwd', await project(), '--set', 'max_iterations=1']
    const running = kept(startAtTerminal(args, { ...env, NO_COLOR: '1' }))
    const [, runId = ''] = await running.prints(/retrai abort (\S+)/)
    running.type('\x03')
    expect(await running.exit).toBe(130)
    expect(running.stdout).toContain(`retrai watch ${runId} --from`)
    expect(JSON.parse((await cli('show', runId, '--json')).stdout).status).toBe('paused')
    expect(running.stdout).not.toContain('\x1b[36m')
  })
})

describe('retrai watch', () => {
  test('continues after a lost connection, with a message on stderr', async () => {
    const proxy = await startCuttingProxy(Number(new URL(server.url).port))
    onTestFinished(() => proxy.stop())
    const cwd = await project('waiting')
    const runId = await detached('--cwd', cwd)
    const running = begin('watch', runId, '--json', '--server', proxy.url)
    await running.prints(/tool_call/)
    proxy.cut()
    await running.prints(/The connection is lost/)
    await running.prints(/Connected again/)
    await writeFile(join(cwd, 'go'), '')
    expect(await running.exit).toBe(0)
    expect(running.stdout).toBe((await cli('watch', runId, '--json')).stdout)
  })

  test('SIGINT ends it with 130, with a message that says how to continue', async () => {
    const cwd = await project('waiting')
    const runId = await detached('--cwd', cwd)
    const running = begin('watch', runId, '--server', server.url)
    await running.prints(/tool_call/)
    running.interrupt()
    expect(await running.exit).toBe(130)
    const hint = /retrai (watch \S+ --from (\d+) --server \S+)\n/.exec(running.stderr)
    expect(hint?.[2]).toMatch(/^\d+$/)
    await writeFile(join(cwd, 'go'), '')
    const rest = await cli(...(hint?.[1] ?? '').split(' '))
    expect(rest.code).toBe(0)
    expect(rest.stdout).toContain('tool_result')
    expect(rest.stdout).not.toContain('tool_call')
  })

  test('ends quietly when its reader has ended', async () => {
    const runId = await detached('--cwd', await project('waiting'))
    const running = kept(start(['watch', runId, '--kinds', 'all'], env))
    await running.prints(/tool_call/)
    running.child.stdout?.destroy()
    await cli('abort', runId)
    expect(await running.exit).toBe(141)
    expect(running.stderr).toBe('')
  })
})

describe('lists', () => {
  test('of runs, by status', async () => {
    const cwd = await project('waiting')
    const first = await detached('--cwd', cwd)
    const second = await detached('--cwd', cwd, '--set', 'shared=true')
    await cli('abort', first)
    const all = await cli('runs', '--limit', '2')
    const [head, ...rows] = all.stdout.trimEnd().split('\n')
    expect(head).toMatch(/^RUN +STATUS +PROJECT +MODEL +ITERATION +COST +CREATED +TITLE$/)
    const short = (id: string) => id.slice(0, 8)
    const row = (id: string, status: string) =>
      expect.stringMatching(`^${short(id)}  ${status} +waiting.* 20\\d\\d-.*shell-goal$`)
    expect(rows).toEqual([row(second, 'running'), row(first, 'aborted')])
    const one = await cli('runs', '--limit', '1', '--status', 'aborted')
    expect(one.stdout).toContain(short(first))
    expect((await cli('runs', '--project', 'nowhere')).stderr).toBe('No run matches.\n')
    expect((await cli('show', 'last')).stdout).toContain(second)
    expect((await cli('show', second.slice(0, 5))).stdout).toContain(second)
    const json = await cli('runs', '--json', '--limit', '1')
    expect(JSON.parse(json.stdout)).toMatchObject({ run_id: second, status: 'running' })
    const none = await cli('runs', '--json', '--status', 'queued')
    expect(none).toEqual({ code: 0, stdout: '', stderr: '' })
    await cli('abort', second)
    const empty = await cli('runs', '--status', 'queued')
    expect(empty).toEqual({ code: 0, stdout: '', stderr: 'No run matches.\n' })
    const more = await cli('runs', '--limit', '1')
    expect(more.stderr).toContain('There are more than 1')
  })

  test('of what a search finds', async () => {
    const cwd = await project()
    const { stdout } = await cli('run', 'shell-goal', '--cwd', cwd, '-m', 'Paint the shed')
    const [runId = ''] = UUID.exec(stdout) ?? []
    await expect.poll(async () => (await cli('search', 'shed', 'pain')).stdout).toContain(runId)
    const all = await cli('search', 'red word', '--run', runId)
    expect(all.stdout.split('\n').slice(0, 2)).toEqual([
      `Paint the shed ${runId}`,
      expect.stringMatching(/^ {2}\d+ tool_result a red word/),
    ])
    const found = await cli('search', 'shed', '--kinds', 'run_created', '--json', '--limit', '1')
    expect(jsonLines(found)).toMatchObject([{ run_id: runId, seq: 0 }])
    expect((await cli('search', 'nowhere-at-all')).stderr).toMatch(/^Nothing was found\.\n/)
    await fails('q must have a word to search for: letters or digits', 'search', '--', '--')
  })

  test('of goals', async () => {
    const { code, stdout } = await cli('goals')
    expect(code).toBe(0)
    expect(stdout).toMatch(/^GOAL +SETTINGS +WHAT IT MEANS\npytest +\[--check\] +All/)
    const json = await cli('goals', '--json')
    expect(JSON.parse(json.stdout.split('\n')[0] ?? '')).toMatchObject({ name: 'pytest' })
  })
})

describe('the goal of retrai run', () => {
  const plain = async (): Promise<string> => mkdtemp(site.path('plain-'))

  test('is the first that fits the project, and is printed with the reason', async () => {
    const { code, stderr } = await cli('run', '--cwd', await project(), '--detach')
    expect(code).toBe(0)
    expect(stderr).toContain('The goal is shell-goal, because .retrai.yml has a check_command.')
  })

  test('is asked for if none fits the project', async () => {
    await fails(/No goal seems to fit .* --check 'make test'/, 'run', '--cwd', await plain())
  })

  test('is listed, for a project, with the reason why it fits', async () => {
    const { stdout } = await cli('goals', '--cwd', await project())
    expect(stdout).toMatch(/WHY IT FITS .*\nshell-goal +\.retrai\.yml has a check_command/)
    const none = await cli('goals', '--cwd', await plain())
    expect(none.stderr).toContain('No goal seems to fit')
    await fails('does not exist', 'goals', '--cwd', site.path('nowhere'))
  })
})

describe('a command fails with 3 and a message', () => {
  test('if no server answers', async () => {
    const other = createServer()
    const url = `http://127.0.0.1:${await portOf(other)}`
    other.close()
    const why = new RegExp(`No server answers at ${url}: .*Start one with "retrai serve"`)
    for (const command of [['runs'], ['watch', UNKNOWN], ['run', 'pytest']]) {
      await fails(why, ...command, '--server', url)
    }
  })

  test.each([
    [
      ['runs', '--server', 'localhost'],
      '--server (RETRAI_SERVER): must be the address of a server',
    ],
    [['watch', UNKNOWN], '"retrai runs" lists the runs'],
    [['watch', 'x'], 'There is no such run'],
    [['fork', 'x', '--at', '1'], 'There is no such run'],
    [['again', UNKNOWN], 'There is no such run'],
    [['watch', UNKNOWN, '--kinds', 'dance'], 'Choose "all", or some of'],
    [['watch', UNKNOWN, '--from', 'x'], 'Give a seq'],
    [['run', 'pytest', '--max-cost-usd', '0x10'], 'Give a number'],
    [['run', 'pytest', '--set', 'max_tokens'], 'Give a field and its value'],
    [['run', 'pytest', '--set', 'approvals=@/no/file'], 'The file cannot be read'],
    [['run', 'pytest', '-m', 'a', '-f', 'b'], 'not both'],
    [['send', UNKNOWN], 'Say something'],
    [['access', '--kinds', 'run_created'], 'Choose some of'],
    [['fork', UNKNOWN, '--at', '1e2'], 'Give a seq'],
    [['runs', '--limit', '0'], 'Give a whole number'],
    [['runs', '--status', 'lost'], 'Allowed choices are'],
  ])('retrai %j', async (args, message) => {
    const said = await fails(message, ...args)
    expect(said.trimEnd().split('\n')).toHaveLength(1)
  })
})

test('--help lists exit codes and variables', async () => {
  for (const name of ['run', 'watch', 'runs', 'show', 'approve', 'abort', 'goals', 'export']) {
    const { code, stdout } = await cli(name, '--help')
    expect(code).toBe(0)
    for (const part of ['Exit codes:', 'RETRAI_SERVER', 'RETRAI_TOKEN', '--server']) {
      expect(stdout).toContain(part)
    }
  }
})
