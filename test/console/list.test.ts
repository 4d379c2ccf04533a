import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { describeInBrowser, elementsIn, useBrowser, useConsoleServer } from './support/page.ts'
import { SampleRun } from './support/sample-run.ts'
import { configOf } from './support/seed.ts'

const RUNS = 1500
const GOALS = ['pytest', 'npm-test', 'go-test', 'cargo-test', 'pyright']
const NOW = Date.now() / 1000

/** Run n is the n-th newest; one in five has each goal, one in two has failed, the others were aborted. */
const samples = Array.from({ length: RUNS }, (_, n) => {
  const config = configOf({ goal: GOALS[n % GOALS.length] ?? '', cwd: `/home/ada/project-${n}` })
  const sample = new SampleRun(randomUUID(), config, NOW - 60 - n)
  return n % 2 === 0 ? sample.fail('disk full') : sample.abort('enough')
})
const TO_THE_END = `document.querySelector('[data-testid="runs"]').scrollTop = 1e9`

const idOf = (n: number): string => samples[n]?.records[0]?.run_id ?? ''

describeInBrowser('the list of runs', () => {
  const open = useBrowser()
  const server = useConsoleServer([], samples)

  test('holds thousands of runs, of which only those in sight are in the page', async () => {
    const page = await open(server.url)
    await page.getByText('in project-0', { exact: true }).waitFor()
    await expect
      .poll(
        async () => {
          await page.evaluate(TO_THE_END)
          return page.getByRole('status').last().textContent()
        },
        { timeout: 90_000 },
      )
      .toBe('1,500 runs')
    await page.evaluate(TO_THE_END)
    await page.getByText(`in project-${RUNS - 1}`).waitFor()
    expect(await elementsIn(page, 'runs')).toBeLessThan(1200)
  })

  test('is asked for once, before the scripts of the page have arrived, and reads no run that nobody has opened', async () => {
    const page = await open('about:blank')
    const scripts = Promise.withResolvers<void>()
    await page.route('**/assets/index-*.js', async (route) => {
      await scripts.promise
      await route.continue()
    })
    const asked: string[] = []
    page.on('request', (request) => asked.push(new URL(request.url()).pathname))
    const early = page.waitForResponse('**/api/runs?*')
    await page.goto(server.url, { waitUntil: 'commit' })
    await early
    scripts.resolve()
    const line = page.getByRole('link').filter({ hasText: 'in project-0' }).first()
    await line.getByText(configOf({}).model_name).waitFor()
    await line.getByText(`of ${configOf({}).max_iterations}`).waitFor()
    expect(asked.filter((path) => path === '/api/me')).toHaveLength(1)
    expect(asked.filter((path) => /^\/api\/runs\/[0-9a-f-]{36}/.test(path))).toEqual([])
  })

  test('is filtered by status and goal, and the filter is in the address', async () => {
    const page = await open(`${server.url}/?status=aborted`)
    await page.getByText('in project-1', { exact: true }).waitFor()
    expect(await page.getByText('in project-0', { exact: true }).count()).toBe(0)
    await page.getByRole('button', { name: 'Filters' }).click()
    await page.getByRole('combobox', { name: 'Goal' }).fill('go-test')
    await page.keyboard.press('Enter')
    await page.getByText('in project-7', { exact: true }).waitFor()
    expect(await page.getByText('in project-1', { exact: true }).count()).toBe(0)
    expect(new URL(page.url()).search).toBe('?goal=go-test&status=aborted')
    await page.goBack()
    await page.getByText('in project-1', { exact: true }).waitFor()
  })

  test('is where it was left, after Back', async () => {
    const page = await open(`${server.url}/?q=project`)
    await page.getByText('in project-0', { exact: true }).waitFor()
    await page.evaluate(`document.querySelector('[data-testid="runs"]').scrollTop = 3000`)
    await page.getByText('in project-47', { exact: true }).click()
    await page.waitForURL('**/runs/**')
    await page.goBack()
    await page.getByText('in project-47', { exact: true }).waitFor()
    expect(new URL(page.url()).search).toBe('?q=project')
  })

  test('is searched while a person types, who may pause after a space; sorted by what is clicked; and turned around', async () => {
    const page = await open(server.url)
    await page.getByText('in project-0', { exact: true }).waitFor()
    await page.keyboard.press('/')
    await page.keyboard.type('project ')
    await page.waitForURL('**/?q=project')
    await page.keyboard.type('x')
    await page.waitForURL('**/?q=project+x')
    await page.getByRole('searchbox').clear()
    await page.waitForURL('**/')
    await page.getByRole('button', { name: 'Sort by started' }).click()
    await page.getByText(`in project-${RUNS - 1}`).waitFor()
    expect(new URL(page.url()).search).toBe('?order=asc')
    await page.getByRole('button', { name: 'Sort by cost' }).click()
    await page.waitForURL('**/?sort=cost')
    await page.keyboard.press('/')
    await page.keyboard.type(idOf(RUNS - 7).slice(0, 13))
    await page.getByText('1 run', { exact: true }).waitFor()
    await page.getByText(`in project-${RUNS - 7}`).click()
    await page.waitForURL(`**/runs/${idOf(RUNS - 7)}`)
  })
})
