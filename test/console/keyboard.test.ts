import type { Page } from 'playwright-core'
import { expect, test } from 'vitest'
import { describeInBrowser, unfold, useBrowser, useConsoleServer } from './support/page.ts'
import { sampleRuns } from './support/sample-runs.ts'

const { samples, waiting } = sampleRuns(Date.now() / 1000)

/** What is focused: the name of its element, and its label. */
const focused = (page: Page): Promise<unknown> =>
  page.evaluate(`(() => {
    const { tagName, ariaLabel, labels, innerText } = document.activeElement
    return tagName + ' ' + (ariaLabel || labels?.[0]?.innerText || innerText.split('\\n')[0])
  })()`)

describeInBrowser('with the keyboard alone', () => {
  const open = useBrowser()
  const server = useConsoleServer([], samples)

  test.each([
    ['Start a run', 'INPUT Project folder'],
    ['Keyboard shortcuts', 'BUTTON Close'],
    ['Send a message to the agent', 'TEXTAREA Message'],
    ['Change the run', 'INPUT Iteration limit'],
    ['Abort the run', 'TEXTAREA Reason'],
  ])('"%s" begins in %s, and gives the focus back', async (name, first) => {
    const page = await open('about:blank')
    const goals = page.waitForResponse('**/api/goals')
    await page.goto(`${server.url}/runs/${waiting}`)
    await goals
    const opener = page.getByRole('button', { name, exact: true }).first()
    await opener.focus()
    const before = await focused(page)
    await page.keyboard.press('Enter')
    await expect.poll(() => focused(page)).toBe(first)
    await page.keyboard.press('Escape')
    await page.getByRole('dialog').waitFor({ state: 'detached' })
    await expect.poll(() => focused(page)).toBe(before)
  })

  test('a form that is refused shows its first problem, and each reason once', async () => {
    const page = await open(server.url)
    await page.getByText('in ray-tracer').waitFor()
    await page.keyboard.press('n')
    const form = page.getByRole('dialog', { name: 'Start a run' })
    await unfold(form)
    await form.getByLabel('MCP servers').fill('[{"name": "mine"}]')
    await form.getByLabel('Reason').focus()
    await page.keyboard.press('Enter')
    const reasons = form.getByRole('alert')
    await reasons.waitFor()
    await expect.poll(() => focused(page)).toBe('BUTTON pytest')
    const words = ((await reasons.textContent()) ?? '').split('. ')
    expect(new Set(words).size).toBe(words.length)
    await page.keyboard.press('Space')
    await form.getByLabel('Reason').focus()
    await page.keyboard.press('Enter')
    await expect.poll(() => focused(page)).toBe('TEXTAREA MCP servers')
  })

  test('a problem that is in no field gets the focus itself', async () => {
    const page = await open(`${server.url}/runs/${waiting}`)
    await page.getByRole('button', { name: 'Send a message to the agent' }).click()
    await page.keyboard.type('Hello')
    await page.route('**/messages', (route) => route.abort())
    await page.getByRole('button', { name: 'Send', exact: true }).click()
    await page.getByText('The server cannot be reached. Is it running?').waitFor()
    await expect.poll(() => focused(page)).toContain('The server cannot be reached.')
  })

  test('the arrows go from part to part of a run, where only one is shown', async () => {
    const viewport = { width: 390, height: 844 }
    const page = await open(`${server.url}/runs/${waiting}`, { viewport })
    const panel = page.getByRole('complementary', { name: 'Overview' })
    const tab = (name: string) => page.getByRole('tab', { name, selected: true })
    await page.getByRole('tab', { name: 'Timeline' }).focus()
    for (const [key, chosen] of [
      ['ArrowRight', 'Changes'],
      ['ArrowRight', 'Overview'],
      ['ArrowRight', 'Timeline'],
      ['End', 'Overview'],
    ] as const) {
      await page.keyboard.press(key)
      await tab(chosen).waitFor()
      expect(await focused(page)).toBe(`BUTTON ${chosen}`)
    }
    expect(await tab('Overview').getAttribute('aria-controls')).toBe(await panel.getAttribute('id'))
    await page.keyboard.press('Shift+Tab')
    await page.keyboard.press('Tab')
    expect(await focused(page)).toBe('BUTTON Overview')
  })
})
