import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import * as z from 'zod'
import { goals } from '../../src/checks/catalogue.ts'
import { temporaryFolder } from '../runner/support.ts'
import { startStandIn } from '../support/eventstore-stand-in/index.ts'
import { isMissing } from '../support/missing.ts'
import { cleanEnv, retrai, retraiProcess } from './support.ts'

const Report = z.object({
  ok: z.boolean(),
  findings: z.array(
    z.object({
      name: z.string(),
      verdict: z.enum(['ok', 'note', 'warn', 'fail']),
      message: z.string(),
      fix: z.string().nullable(),
    }),
  ),
})

/** Goals that need no program beside the command of the run. */
const FREE = ['all-of', 'instructions']

/** @param run a process, if the variables are more than settings */
async function doctor(env: Readonly<Record<string, string>>, run = retrai) {
  const { code, stdout } = await run(['doctor', '--json'], { ...cleanEnv(), ...env })
  const report = Report.parse(JSON.parse(stdout))
  const about = (name: string) => report.findings.find((finding) => finding.name === name)
  return { code, report, about }
}

test.skipIf(isMissing('bwrap'))(
  'a machine with all that a server needs has no failure',
  async () => {
    const dataDir = join(await temporaryFolder(), 'data')
    const env = {
      RETRAI_DATA_DIR: dataDir,
      RETRAI_ISOLATION: 'auto',
      OPENAI_API_KEY: 'sk-not-a-key',
    }
    const { code, report, about } = await doctor(env)
    expect(report.findings.filter(({ verdict }) => verdict === 'fail')).toEqual([])
    expect([code, report.ok]).toEqual([0, true])
    expect(about('isolation')).toMatchObject({
      verdict: 'ok',
      message: expect.stringMatching(/^namespaces: /),
    })
    expect(about('bash')?.verdict).toBe('ok')
    expect(about('store')?.message).toContain('there is no log yet')
    expect(about('model')?.message).toContain('OPENAI_API_KEY is the only key that is set')
    expect(about('access')?.verdict).toBe('warn')
  },
)

test('what fails is named with a remedy, and the exit code is 1', async () => {
  const dataDir = join(await temporaryFolder(), 'data')
  await mkdir(dataDir, { mode: 0o755 })
  await writeFile(join(dataDir, 'log.sqlite'), 'this is no database '.repeat(100))
  const env = {
    RETRAI_DATA_DIR: dataDir,
    RETRAI_ISOLATION: 'auto',
    PATH: '/nowhere',
  }
  const { code, report, about } = await doctor(env, retraiProcess)
  expect([code, report.ok]).toEqual([1, false])
  expect(about('isolation')).toMatchObject({
    verdict: 'fail',
    fix: expect.stringContaining('install bubblewrap'),
  })
  expect(about('data folder')).toMatchObject({
    verdict: 'fail',
    fix: `Run: chmod 700 '${dataDir}'`,
  })
  expect(about('store')).toMatchObject({ verdict: 'fail' })
  const prices = join(dataDir, 'prices.yml')
  await writeFile(prices, 'models: { ours: { colour: red } }')
  const text = await retraiProcess(['doctor'], { ...cleanEnv(), ...env, RETRAI_PRICES: prices })
  expect(text.stdout).toMatch(/^fail {2}isolation: /m)
  expect(text.stdout).not.toContain('\x1b')
  expect(text.stdout).toMatch(
    /^fail {2}files: RETRAI_PRICES: .*is not valid:\n {6} *models\..*colour/m,
  )
  expect(text.stdout).toMatch(/^ {6}Run: chmod 700/m)
})

test('a weak level is a warning, and each program that a goal needs is named with the way to install it', async () => {
  const dataDir = join(await temporaryFolder(), 'data')
  const env = { RETRAI_DATA_DIR: dataDir, RETRAI_ISOLATION: 'none', PATH: '/nowhere' }
  const { code, report, about } = await doctor(env, retraiProcess)
  expect(code).toBe(0)
  expect(about('isolation')).toMatchObject({ verdict: 'warn' })
  expect(about('bash')).toMatchObject({ verdict: 'warn' })
  const programs = report.findings.filter(({ message }) => message.includes('It is needed for'))
  const uses = programs.map(({ message }) => message).join(' ')
  const withProgram = goals.map(({ name }) => name).filter((name) => !FREE.includes(name))
  for (const name of withProgram) expect(uses, name).toContain(name)
  for (const linter of ['ruff', 'clippy']) {
    const fix = expect.stringMatching(/^Install it/)
    expect(about(linter), linter).toMatchObject({ verdict: 'note', fix })
  }
})

test('an EventStoreDB is reported with the rights of the user', async () => {
  const standIn = await startStandIn()
  onTestFinished(() => standIn.stop())
  const env = {
    RETRAI_DATA_DIR: join(await temporaryFolder(), 'data'),
    EVENTSTORE_URL: `esdb://ada:secret@127.0.0.1:${standIn.port}?tls=false`,
  }
  expect((await doctor(env)).about('store')).toMatchObject({
    verdict: 'ok',
    message: 'The EventStoreDB answers. This user may read and write the log.',
  })
  await standIn.faults.down()
  expect((await doctor(env)).about('store')).toMatchObject({
    verdict: 'fail',
    message: expect.stringContaining('ECONNREFUSED'),
  })
})
