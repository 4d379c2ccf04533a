import { mkdtemp, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import type { ScriptedRequest, Turn } from '../../examples/scripted-model/script.ts'
import { isMissing } from '../support/missing.ts'
import { json } from '../support/server.ts'
import { bash, Site, type SiteServer } from '../support/site.ts'
import { begin, cleanEnv, retrai, startAtTerminal } from './support.ts'

/** Python makes the terminal. */
const atTerminal = test.skipIf(isMissing('python3'))

let site: Site
let server: SiteServer
let env: NodeJS.ProcessEnv

/** The second iteration reaches the goal. */
const play = ({ turn }: ScriptedRequest): Turn =>
  turn % 2 === 1 ? { text: 'It is done.' } : bash(turn === 0 ? 'touch a' : 'touch done')

beforeAll(async () => {
  site = await Site.open()
  server = await site.serve('data', { model: await site.model(play) })
  env = { ...cleanEnv(), RETRAI_SERVER: server.url }
})
afterAll(() => site.close())

async function project(): Promise<string> {
  const cwd = await mkdtemp(site.path('project-'))
  await writeFile(join(cwd, '.retrai.yml'), 'check_command: test -e done\n')
  return cwd
}

const cli = (...args: string[]) => retrai(args, env)

test('a paused run says how it continues, and a raised limit continues it', async () => {
  const body = { goal: 'shell-goal', cwd: await project(), max_iterations: 1, on_limit: 'pause' }
  const created = await fetch(`${server.url}/api/runs`, json('POST', body))
  const { run_id: runId } = (await created.json()) as { run_id: string }
  const watching = begin(['watch', runId], env)
  await watching.prints(/The run is paused: retrai configure \S+ --set max_iterations=N, or\n/)
  expect(watching.stdout).toContain(
    'run_paused         Stopped by max_iterations: the goal was not reached in 1\n',
  )
  const shown = await cli('show', runId)
  expect(shown.stdout).toMatch(/^status {5}paused$/m)
  expect(shown.stdout).toMatch(/^waits for {2}Stopped by max_iterations/m)
  expect(shown.stdout).toContain(`retrai configure ${runId} --set max_iterations=N, or\n`)
  expect((await cli('runs', '--status', 'paused')).stdout).toContain(runId.slice(0, 8))
  const approved = await cli('approve', runId)
  expect([approved.code, approved.stdout]).toEqual([3, ''])
  expect(approved.stderr).toContain('Stopped by max_iterations')
  const low = await cli('configure', runId, '--set', 'max_seconds=0.0001')
  expect([low.code, low.stderr]).toEqual([3, expect.stringContaining('max_seconds is too low')])
  const limits = ['max_iterations=5', 'max_tokens=90000', 'max_cost_usd=null'].flatMap((limit) => [
    '--set',
    limit,
  ])
  const raised = await cli('configure', runId, ...limits, '--reason', 'nearly')
  expect(raised).toEqual({ code: 0, stdout: `${runId} running\n`, stderr: '' })
  expect(await watching.exit).toBe(0)
  const changed = await cli('watch', runId, '--kinds', 'run_config_changed')
  expect(changed.stdout).toContain('max_cost_usd is now no limit, max_tokens is now 90000')
  expect(watching.stdout).toContain('run_resumed        the run continues: nearly\n')
})

test('without a terminal, a run ends at its limit', async () => {
  const ran = await cli('run', 'shell-goal', '--cwd', await project(), '--set', 'max_iterations=1')
  expect([ran.code, ran.stdout]).toEqual([1, expect.stringContaining('Run failed')])
})

atTerminal(
  'at a terminal, a run pauses at its limit, and the person is asked for a higher one',
  async () => {
    const args = ['run', 'shell-goal', '--cwd', await project(), '--set', 'max_iterations=1']
    const running = startAtTerminal(args, env)
    onTestFinished(async () => {
      running.child.kill('SIGKILL')
      await running.exit
    })
    await running.prints(/A higher max_iterations, \[x\] abort/)
    running.type('many\n')
    await running.prints(/many[\s\S]*A higher max_iterations/)
    running.type('4\n')
    await running.prints(/Reason/)
    running.type('one more\n')
    expect(await running.exit).toBe(0)
    expect(running.stdout).toContain('the run continues: one more')
  },
)
