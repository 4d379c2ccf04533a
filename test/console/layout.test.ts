import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeInBrowser, fact, useBrowser } from './support/page.ts'
import { SampleRun } from './support/sample-run.ts'
import { sampleRuns } from './support/sample-runs.ts'
import { configOf } from './support/seed.ts'
import { type ConsoleServer, startConsoleServer } from './support/server.ts'

const now = Date.now() / 1000
const { samples, achieved } = sampleRuns(now)
const refused = randomUUID()
const REASON = `api.example.com refused the request (401): ${'The key was revoked. '.repeat(6)}Is it right?`
const many = Array.from({ length: 20 }, () => new SampleRun(randomUUID(), configOf(), now - 60))
const all = [...samples, new SampleRun(refused, configOf(), now - 90).fail(REASON), ...many]

describeInBrowser('the layout', () => {
  const open = useBrowser()
  let server: ConsoleServer
  beforeAll(async () => {
    server = await startConsoleServer([], all)
  })
  afterAll(() => server.stop())

  test.each([1280, 390])('does not move when the first records arrive, %i wide', async (width) => {
    const page = await open('about:blank', { viewport: { width, height: 844 } })
    const { promise, resolve } = Promise.withResolvers<void>()
    await page.route(`**/api/runs/${achieved}/events?**`, async (route) => {
      await promise
      await route.continue()
    })
    await page.goto(`${server.url}/runs/${achieved}`)
    const timeline = page.getByTestId('timeline')
    await timeline.waitFor()
    const top = async () => (await timeline.boundingBox())?.y ?? 0
    const before = await top()
    resolve()
    await fact(page, 'Goal').getByText('All 42 tests passed').waitFor()
    // Half of a line: fonts come later than the first texts.
    expect(Math.abs((await top()) - before)).toBeLessThan(12)
  })

  test('the head of a full list is as high as that of a short one', async () => {
    const page = await open(`${server.url}/?status=aborted`)
    const height = async () =>
      (await page.getByText('Goal and project').locator('..').boundingBox())?.height
    await page.getByText('in firmware').waitFor()
    const short = await height()
    await page.getByRole('button', { name: 'All', exact: true }).click()
    await page.getByText('28 runs').waitFor()
    expect(await height()).toBe(short)
  })

  test('a reason of several lines is shown whole', async () => {
    const page = await open(`${server.url}/runs/${refused}`)
    const why = fact(page, 'Why it failed')
    await why.getByText('Is it right?').waitFor()
    const hidden = `(({ scrollHeight, clientHeight, scrollWidth, clientWidth }) =>
      scrollHeight > clientHeight || scrollWidth > clientWidth
    )(document.querySelector('[data-fact="Why it failed"] dd'))`
    expect(await page.evaluate(hidden)).toBe(false)
  })
})
