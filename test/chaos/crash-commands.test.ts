import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { canMakeGroups, smallGroup } from '../support/small-group.ts'
import { CrashSite } from './crash-site.ts'
import { endOf, outcomesOf } from './evidence.ts'
import { processesIn } from './inspection.ts'
import { violations } from './invariants.ts'
import { expectKilled, PlannedRun, play } from './planned-runs.ts'
import { endless, fatal } from './plans.ts'

const MIB = 1024 * 1024

let site: CrashSite
beforeAll(async () => {
  site = await CrashSite.open()
})
afterAll(() => site[Symbol.asyncDispose]())

/** The run has ended. Its first command was lost, was not run again, and left nothing. */
async function expectUnknown(run: PlannedRun): Promise<void> {
  const evidence = await run.evidence()
  expect(violations(evidence)).toEqual([])
  expect(outcomesOf(evidence)).toEqual(['unknown', 'ok'])
  expect(evidence.ledger).toEqual(['0.0', '1.0'])
  expect(endOf(evidence)).toMatchObject({ status: 'achieved' })
  expect(await processesIn(run.project)).toEqual([])
}

test('if the process that runs commands dies, the result of its command is unknown', async () => {
  const run = await PlannedRun.on(site, fatal)
  await play(site, [run])
  await expectUnknown(run)
})

/** The server dies in a command that does not end by itself, and the next one continues. */
async function dieInCommand(kill: () => Promise<void>, at: readonly string[]): Promise<void> {
  const run = await PlannedRun.on(site, endless)
  site.crashAt(...at)
  const playing = play(site, [run])
  await expect.poll(() => existsSync(join(run.project, 'ledger')), { timeout: 60_000 }).toBe(true)
  await kill()
  await expectKilled(site)
  await playing
  expect(await processesIn(run.project)).toEqual([])
  site.restart()
  await play(site, [run])
  await expectUnknown(run)
}

test('if a server dies in a command while its runner is stopped, the result is unknown', async () => {
  const { server } = site
  const stopped = async () => {
    await expect.poll(() => server.runnerState, { timeout: 60_000 }).toBe('T')
    server.kill('SIGKILL')
  }
  await dieInCommand(stopped, ['runner stopped during output'])
})

test.skipIf(!canMakeGroups)(
  'if the kernel kills a server in a command for lack of memory, the result is unknown',
  async () => {
    const { server } = site
    await dieInCommand(async () => {
      const group = smallGroup(MIB)
      group.add(server.pid ?? 0)
      const url = await server.url
      const isGone = server.exit.then(() => true)
      const ask = () => fetch(`${url}/openapi.json`).then((answer) => answer.text())
      const isKilled = () =>
        Promise.race([
          isGone,
          ask()
            .then(() => false)
            .catch(() => isGone),
        ])
      while (!(await isKilled()));
      expect(group.kills()).toBeGreaterThan(0)
    }, [])
  },
)
