import { randomUUID } from 'node:crypto'
import type { Locator, Page } from 'playwright-core'
import { expect, test } from 'vitest'
import * as z from 'zod'
import { gatedModel } from './support/gate.ts'
import { abortIn, describeInBrowser, fact, useBrowser, useConsoleServer } from './support/page.ts'
import { SampleRun } from './support/sample-run.ts'
import { sampleRuns } from './support/sample-runs.ts'
import { configOf } from './support/seed.ts'

const now = Date.now() / 1000
const { samples, achieved, waiting } = sampleRuns(now)
const [refused, wordy] = [randomUUID(), randomUUID()]
const REASON = `api.example.com refused the request (401): ${'The key was revoked. '.repeat(6)}Is it right?`
/** A run that waits, with names that fit no line. */
const long = configOf({
  cwd: `/home/${'ada'.repeat(80)}`,
  model_name: 'm'.repeat(200),
  hitl_enabled: true,
})
const waits = new SampleRun(wordy, long, now - 90).iterate({
  text: 'Nothing helps.',
  calls: [],
  check: { achieved: false, reason: 'a test with a very long name is failing, '.repeat(100) },
})
const all = [...samples, waits, new SampleRun(refused, configOf(), now - 90).fail(REASON)]

const PHONE = { width: 360, height: 740 }

async function boxOf(element: Locator) {
  const box = await element.boundingBox()
  if (box === null) throw new Error('it is not shown')
  return box
}

describeInBrowser('the layout', () => {
  const open = useBrowser()
  const server = useConsoleServer([], all)

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

  test('follows a run to its end although its window becomes smaller', async () => {
    const page = await open(`${server.url}/runs/${waiting}`)
    await page.getByTestId('decide').waitFor()
    const left = `(({ scrollHeight, scrollTop, clientHeight }) => scrollHeight - scrollTop - clientHeight)(
      document.querySelector('[data-testid="timeline"]'))`
    await expect.poll(() => page.evaluate(left)).toBeLessThan(2)
    await page.setViewportSize({ width: 1280, height: 600 })
    await expect.poll(() => page.evaluate('innerHeight')).toBe(600)
    await expect.poll(() => page.evaluate(left)).toBeLessThan(2)
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

  test('has room for the timeline of a run that waits, on small screens', async () => {
    for (const [runId, sizes] of [
      // A screen at 400 %, and a phone that lies on its side.
      [waiting, ['320x256', '740x360']],
      // A small phone, and a low window.
      [wordy, ['360x640', '1280x540']],
    ] as const) {
      const page = await open(`${server.url}/runs/${runId}`)
      for (const size of sizes) {
        const [width = 0, height = 0] = size.split('x').map(Number)
        await page.setViewportSize({ width, height })
        await page.getByTestId('decide').waitFor({ state: 'attached' })
        const timeline = page.getByTestId('timeline')
        await timeline.scrollIntoViewIfNeeded()
        expect((await timeline.boundingBox())?.height, size).toBeGreaterThan(170)
        expect(await page.evaluate('document.documentElement.scrollWidth'), size).toBe(width)
      }
    }
  })

  test('on a phone a decision can be made even if its question is long', async () => {
    const page = await open(`${server.url}/runs/${wordy}`, { viewport: PHONE })
    const approve = page.getByTestId('decide').getByRole('button', { name: 'Approve' })
    const bottom = async () => {
      const { y, height } = await boxOf(approve)
      return y + height
    }
    await approve.waitFor()
    // The parts of the page get their places while the records arrive.
    await expect.poll(bottom).toBeLessThan(PHONE.height)
    const timeline = page.getByTestId('timeline')
    await expect.poll(async () => (await boxOf(timeline)).height).toBeGreaterThan(50)
    expect(await bottom()).toBeLessThan(PHONE.height)
  })

  test('on a phone no button is on a text, and in a low window all filters can be reached', async () => {
    const phone = { viewport: { width: 360, height: 3600 }, isMobile: true, hasTouch: true }
    const page = await open(`${server.url}/runs/${waiting}`, phone)
    const command = page
      .getByTestId('timeline')
      .locator('pre')
      .getByText('python3 -m pytest')
      .first()
    await command.waitFor()
    const atItsEnd = async () => {
      const { y, height } = await boxOf(command)
      return page.evaluate(`document.elementFromPoint(280, ${y + height / 2}).textContent`)
    }
    await expect.poll(atItsEnd).toContain('python3 -m pytest')

    const low = await open(server.url, { viewport: { width: 1024, height: 600 } })
    await low.getByRole('button', { name: 'Filters' }).click()
    const bottom = async () => {
      const { y, height } = await boxOf(low.getByRole('dialog'))
      return y + height
    }
    await expect.poll(bottom).toBeLessThan(600)
  })

  test('on a phone Enter in the reason decides nothing, and its text is large enough not to be zoomed into', async () => {
    const touch = { viewport: PHONE, hasTouch: true, isMobile: true }
    const page = await open(`${server.url}/runs/${wordy}`, touch)
    const decide = page.getByTestId('decide')
    const reason = decide.getByPlaceholder('Optional reason')
    await reason.fill('No, not yet')
    let sent = 0
    await page.route('**/resume', (route) => {
      sent += 1
      return route.abort()
    })
    await reason.press('Enter')
    expect(await reason.inputValue()).toBe('No, not yet\n')
    const size = await page.evaluate(
      `getComputedStyle(document.querySelector('[data-testid=decide] textarea')).fontSize`,
    )
    expect(size).toBe('16px')
    await decide.getByRole('button', { name: 'Abort the run' }).tap()
    const dialog = page.getByRole('dialog', { name: 'Abort this run?' })
    await dialog.getByRole('button', { name: 'Keep it running' }).tap()
    await dialog.waitFor({ state: 'detached' })
    expect(sent).toBe(0)
    await decide.getByRole('button', { name: 'Abort the run' }).tap()
    await dialog.getByRole('button', { name: 'Abort the run' }).tap()
    await dialog.getByRole('alert').waitFor()
    expect(sent).toBe(1)
  })

  test('the second tap of a double one does not answer a question that has just appeared', async () => {
    const page = await open('about:blank')
    await page.addInitScript(`new MutationObserver(() => {
      const button = document.querySelector('[data-testid=decide] button')
      if (button !== null) window.wasDisabled ??= button.disabled
    }).observe(document, { subtree: true, childList: true })`)
    await page.goto(`${server.url}/runs/${wordy}`)
    const approve = page.getByTestId('decide').getByRole('button', { name: 'Approve' })
    await expect.poll(() => approve.isEnabled()).toBe(true)
    expect(await page.evaluate('window.wasDisabled')).toBe(true)
  })
})

/** Notes how far the timeline has moved, in the units of the browser: 1 is the whole page by its whole height. */
const OBSERVE_SHIFTS = `
  window.shifts = []
  const timeline = document.querySelector('[data-testid="timeline"]')
  const isSeen = ({ node }) => node !== null && (node.contains(timeline) || timeline.contains(node))
  new PerformanceObserver((list) => {
    for (const { value, sources } of list.getEntries()) {
      const moved = sources.map(({ node, previousRect: { y: from }, currentRect: { y: to } }) =>
        ({ what: node?.dataset?.testid ?? node?.className ?? node?.nodeName, from, to }))
      if (sources.some(isSeen)) window.shifts.push({ value, moved })
    }
  }).observe({ type: 'layout-shift' })`

const Shifts = z.array(z.object({ value: z.number(), moved: z.unknown() }))

describeInBrowser('a run that begins to wait', () => {
  const open = useBrowser()

  const { model, allowReplies } = gatedModel()
  const server = useConsoleServer(model)

  test('moves nothing that somebody reads, wide or narrow, and is announced', async () => {
    const runId = await server.start('waits', { hitl_enabled: true })
    const wide = await open(`${server.url}/runs/${runId}`)
    const phone = { width: 390, height: 844 }
    const pages = [wide, await open(`${server.url}/runs/${runId}`, { viewport: phone })]
    for (const page of pages) {
      await fact(page, 'Now').getByText('Asking the model').waitFor()
      await page.evaluate('document.fonts.ready')
      await page.evaluate(OBSERVE_SHIFTS)
    }
    const status = (page: Page) => page.getByRole('status').filter({ hasText: 'This run waits' })
    const expectStill = async (page: Page): Promise<void> => {
      const shifts = Shifts.parse(await page.evaluate('window.shifts'))
      const moved = shifts.reduce((sum, { value }) => sum + value, 0)
      expect(moved, JSON.stringify(shifts)).toBeLessThan(0.01)
    }
    allowReplies(2)
    for (const page of pages) {
      await page.getByTestId('decide').waitFor()
      await status(page).waitFor({ state: 'attached' })
      await expectStill(page)
    }
    await abortIn(wide)
    for (const page of pages) {
      await page.getByTestId('decided').waitFor()
      await status(page).waitFor({ state: 'detached' })
      await expectStill(page)
    }
  })
})
