import { randomUUID } from 'node:crypto'
import type { Page } from 'playwright-core'
import { expect, test } from 'vitest'
import { fold } from '../../src/domain/evolve.ts'
import { longRun } from './support/long-run.ts'
import {
  describeInBrowser,
  elementsIn,
  fact,
  untilReceived,
  useBrowser,
  useConsoleServer,
} from './support/page.ts'
import { sampleRuns } from './support/sample-runs.ts'

const RECORDS = 3_000
const LONG = randomUUID()
const { samples, achieved } = sampleRuns(Date.now() / 1000)
const long = longRun(LONG, RECORDS, Date.now() / 1000 - 90_000)
const short = samples.find(({ records }) => records[0]?.run_id === achieved)?.records ?? []

const scrubTo = (page: Page, seq: number): Promise<void> =>
  page.getByRole('slider', { name: 'Moment of the run' }).fill(String(seq))

const moment = (page: Page): Promise<string | null> => page.getByTestId('moment').textContent()

describeInBrowser('replay', () => {
  const open = useBrowser()
  const server = useConsoleServer([], [...samples, long])

  test('goes from failure to failure, and shows the state at any record, as the domain folds it', async () => {
    const page = await open(`${server.url}/runs/${achieved}`, { received: true })
    const here = page.getByTestId('timeline').locator('[data-here="true"]')
    await page.keyboard.press('End')
    const failures = page.getByRole('button', { name: /^\d failed calls?$/ })
    for (const what of ["'ROUND_HALF_UP' is not defined", 'test_gross_rounds_each_line']) {
      await failures.click()
      await here.getByText(what).first().waitFor()
    }
    for (const seq of [0, 7, 29, 41, short.length - 2]) {
      await scrubTo(page, seq)
      await expect.poll(() => moment(page)).toBe(`${seq} / ${short.length - 1}`)
      const state = fold(short.slice(0, seq + 1))
      const tokens = new Intl.NumberFormat('en-US').format(state?.total.tokens ?? -1)
      expect(await fact(page, 'Tokens').textContent()).toBe(tokens)
      expect(await fact(page, 'Iteration').textContent()).toBe(`${state?.iteration} of 20`)
      expect(await fact(page, 'Record').textContent()).toBe(String(seq))
    }
  })

  test('moves by keyboard, and the address follows; a call has its result when that comes', async () => {
    const seq = short.findIndex(({ kind }) => kind === 'tool_result')
    const page = await open(`${server.url}/runs/${achieved}#seq=${seq - 1}`)
    const row = page.locator('[data-here="true"]')
    await row.getByText('running').waitFor()
    await page.keyboard.press('j')
    await row.getByText('running').waitFor({ state: 'detached' })
    await row.getByText(/\d ms/).waitFor()
    await page.keyboard.press('k')
    await expect.poll(() => moment(page)).toMatch(new RegExp(`^${seq - 1} /`))
    await page.keyboard.press(']')
    const second = short.findIndex(({ iteration }) => iteration === 2)
    await expect.poll(() => moment(page)).toMatch(new RegExp(`^${second} /`))
    await expect.poll(() => page.url()).toContain(`#seq=${second}`)
    await page.keyboard.press('End')
    await expect.poll(() => page.url()).not.toContain('#')
    await page.getByText('As it was at record').waitFor({ state: 'detached' })
  })

  test('plays to the end', async () => {
    const page = await open(`${server.url}/runs/${achieved}#seq=0`)
    const speed = page.getByLabel('Speed of the replay')
    // At the highest speed, it may have ended before anybody sees that it plays.
    await speed.selectOption('1')
    await page.getByRole('button', { name: 'Play' }).click()
    await page.getByRole('button', { name: 'Pause' }).waitFor()
    await speed.selectOption('64')
    await expect.poll(() => moment(page), { timeout: 90_000 }).toMatch(`${short.length - 1} /`)
    await page.getByRole('button', { name: 'Play' }).waitFor()
  })

  test('opens a run of 3,000 records, and only those in sight are in the page', async () => {
    const page = await open('about:blank')
    let frames = 0
    page.on('websocket', (socket) =>
      socket.on('framereceived', () => {
        frames += 1
      }),
    )
    await page.goto(`${server.url}/runs/${LONG}`)
    const last = long.records.length - 1
    await untilReceived(page)
    // All of it came as one answer, not as so many messages.
    expect(frames).toBeLessThan(10)
    const all = new Intl.NumberFormat('en-US').format(last + 1)
    await page.getByText(`${all} of ${all} records verified here, in your browser`).waitFor()
    // The run has ended long ago: the replay begins at the beginning, and the page shows how the run ended.
    await page.getByTestId('timeline').getByText('Iteration 1', { exact: true }).waitFor()
    expect(await fact(page, 'Why it was aborted').textContent()).toBe('It goes round in circles')
    expect(await elementsIn(page, 'timeline')).toBeLessThan(3000)
    for (const seq of [Math.floor(last / 2), 3, last - 5]) {
      await scrubTo(page, seq)
      await page.locator('[data-here="true"]').waitFor()
      expect(await elementsIn(page, 'timeline')).toBeLessThan(3000)
    }
    // The whole page stays small too: nothing else grows with the run.
    expect(await page.locator('*').count()).toBeLessThan(5000)
  })

  test('a link to a record in a long run opens it there', async () => {
    const seq = 2_322
    const page = await open(`${server.url}/runs/${LONG}#seq=${seq}`)
    await expect.poll(() => moment(page)).toMatch(/^2,322 \//)
    const row = page.locator('[data-here="true"]')
    await row.waitFor()
    await row.getByRole('button', { name: /^Show the raw record/ }).click()
    await page.getByRole('dialog').getByText(`Record ${seq}`, { exact: true }).waitFor()
  })
})
