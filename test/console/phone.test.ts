import { randomUUID } from 'node:crypto'
import type { Locator } from 'playwright-core'
import { expect, test } from 'vitest'
import { describeInBrowser, useBrowser, useConsoleServer } from './support/page.ts'
import { SampleRun } from './support/sample-run.ts'
import { configOf } from './support/seed.ts'

const VIEWPORT = { width: 360, height: 740 }
const now = Date.now() / 1000
const WORDY = randomUUID()

/** A run that waits, with far more to say than a phone can show. */
const wordy = new SampleRun(WORDY, configOf({ hitl_enabled: true }), now - 400).iterate({
  text: 'Nothing helps.',
  calls: [],
  check: { achieved: false, reason: 'a test with a very long name is failing, '.repeat(100) },
})

async function boxOf(element: Locator) {
  const box = await element.boundingBox()
  if (box === null) throw new Error('it is not shown')
  return box
}

describeInBrowser('on a phone', () => {
  const open = useBrowser()
  const server = useConsoleServer([], [wordy])

  test('a decision can be made even if its question is long', async () => {
    const page = await open(`${server.url}/runs/${WORDY}`, { viewport: VIEWPORT })
    const approve = page.getByTestId('decide').getByRole('button', { name: 'Approve' })
    const bottom = async () => {
      const { y, height } = await boxOf(approve)
      return y + height
    }
    await approve.waitFor()
    // The parts of the page get their places while the records arrive.
    await expect.poll(bottom).toBeLessThan(VIEWPORT.height)
    const timeline = page.getByTestId('timeline')
    await expect.poll(async () => (await boxOf(timeline)).height).toBeGreaterThan(50)
    expect(await bottom()).toBeLessThan(VIEWPORT.height)
  })

  test('Enter in the reason decides nothing, and its text is large enough not to be zoomed into', async () => {
    const touch = { viewport: VIEWPORT, hasTouch: true, isMobile: true }
    const page = await open(`${server.url}/runs/${WORDY}`, touch)
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
    await page.goto(`${server.url}/runs/${WORDY}`)
    const approve = page.getByTestId('decide').getByRole('button', { name: 'Approve' })
    await expect.poll(() => approve.isEnabled()).toBe(true)
    expect(await page.evaluate('window.wasDisabled')).toBe(true)
  })

  test('the list shows the status and the start of each run', async () => {
    const page = await open(server.url, { viewport: VIEWPORT })
    const line = page.getByRole('link', { name: /Waits for you/ }).filter({ hasText: 'pytest' })
    const [status, started] = [line.getByText('Waits for you'), line.getByText(/^\d+ min ago$/)]
    for (const { x, width } of [await boxOf(status), await boxOf(started)]) {
      expect(x + width).toBeLessThanOrEqual(VIEWPORT.width)
    }
    expect((await boxOf(started)).y).toBeGreaterThan((await boxOf(status)).y)
  })
})
