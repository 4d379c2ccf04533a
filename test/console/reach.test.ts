import { randomUUID } from 'node:crypto'
import type { Page } from 'playwright-core'
import { expect, test } from 'vitest'
import { faults } from './support/faults.ts'
import { describeInBrowser, untilReceived, useBrowser, useConsoleServer } from './support/page.ts'
import { SampleRun } from './support/sample-run.ts'
import { sampleRuns } from './support/sample-runs.ts'
import { configOf } from './support/seed.ts'

const now = Date.now() / 1000
const { samples, achieved, waiting } = sampleRuns(now)
const spoken = randomUUID()
const LONG = `${'A long line of output. '.repeat(40).trim()}\n`
const talk = new SampleRun(spoken, configOf(), now - 300).iterate({
  text: 'See ![a plan](https://example.com/plan.png).\n\n| a | b |\n| - | - |\n| 1 | 2 |',
  calls: [{ tool: 'bash_exec', args: { command: 'make test' }, output: LONG.repeat(30) }],
  check: { achieved: false, reason: 'Two are left' },
})

/** Whether a button is in the window, and nothing covers it. */
const isInSight = (page: Page, name: string): Promise<unknown> =>
  page.evaluate(`(() => {
    const button = [...document.querySelectorAll('button')].find((each) =>
      (each.ariaLabel ?? each.innerText.trim()) === ${JSON.stringify(name)})
    const { x, y, width, height } = button.getBoundingClientRect()
    return button.contains(document.elementFromPoint(x + width / 2, y + height / 2))
  })()`)

const focusedIn = (page: Page): Promise<unknown> =>
  page.evaluate('document.activeElement.ariaLabel ?? document.activeElement.innerText')

/** The index of the row of the timeline that has the focus; null if none has it. */
const rowOfFocus = (page: Page): Promise<unknown> =>
  page.evaluate(`document.activeElement.closest('[data-index]')?.dataset.index ?? null`)

describeInBrowser('what is needed is reached', () => {
  const open = useBrowser()
  const server = useConsoleServer([], [...samples, talk])

  test.each([
    ['a phone that lies on its side', { width: 844, height: 390 }],
    ['a screen at 200 %', { width: 640, height: 450 }],
  ])('decision, replay and timeline on %s', async (_, viewport) => {
    const page = await open(`${server.url}/runs/${waiting}`, { viewport })
    await page.getByTestId('decide').waitFor()
    expect(await isInSight(page, 'Approve')).toBe(true)
    expect(await isInSight(page, 'Play')).toBe(true)
    expect(await faults(page)).toEqual([])
    await page.mouse.move(300, 120)
    for (let turn = 0; turn < 8; turn += 1) await page.mouse.wheel(0, 300)
    const last = page.getByTestId('timeline').getByText('A person was asked').last()
    await last.waitFor()
    expect(await isInSight(page, 'Approve')).toBe(true)
  })

  test('Play is few Tab stops away, and the moment stays', async () => {
    const page = await open(`${server.url}/runs/${achieved}#seq=5`, { received: true })
    const focused = () => focusedIn(page)
    let stops = 0
    while ((await focused()) !== 'Play' && stops < 10) {
      await page.keyboard.press('Tab')
      stops += 1
      if ((await focused()) === 'Skip to content') await page.keyboard.press('Enter')
    }
    expect(await focused()).toBe('Play')
    expect(stops).toBeLessThan(10)
    expect(page.url()).toMatch(/#seq=5$/)
  })

  test('the timeline is one stop, in which the arrows lead from row to row and within a row', async () => {
    const page = await open(`${server.url}/runs/${achieved}`, { received: true })
    await page.getByRole('button', { name: 'First error' }).focus()
    await page.keyboard.press('Tab')
    const first = Number(await rowOfFocus(page))
    for (let press = 0; press < 12; press += 1) await page.keyboard.press('ArrowDown')
    const later = Number(await rowOfFocus(page))
    expect(later).toBeGreaterThanOrEqual(first + 12)
    await page.keyboard.press('ArrowUp')
    await page.keyboard.press('ArrowRight')
    const row = await rowOfFocus(page)
    const label = await focusedIn(page)
    expect(Number(row)).toBeLessThan(later)
    await page.keyboard.press('Tab')
    expect(await focusedIn(page)).toBe('Play')
    await page.keyboard.press('Shift+Tab')
    expect([await rowOfFocus(page), await focusedIn(page)]).toEqual([row, label])
    // All rows are printed, and success is said once.
    await page.emulateMedia({ media: 'print' })
    const rows = page.getByTestId('timeline').locator('li')
    await expect.poll(() => rows.count()).toBeGreaterThan(20)
    await page.getByText('The run has ended', { exact: true }).waitFor()
    expect(await page.getByText('Achieved', { exact: true }).count()).toBe(1)
    expect(await page.getByRole('button', { name: 'Play' }).isVisible()).toBe(false)
  })

  test('a sign that needs Shift or AltGr is the same shortcut, and no other with Shift or Control', async () => {
    const page = await open(server.url)
    const search = page.getByRole('searchbox')
    await search.waitFor()
    const press = (event: object) =>
      page.evaluate(
        `document.body.dispatchEvent(new KeyboardEvent('keydown', ${JSON.stringify({ bubbles: true, ...event })}))`,
      )
    // The shortcuts open on any keyboard.
    for (const code of ['Minus', 'Slash']) {
      await press({ key: '?', code, shiftKey: true, cancelable: true })
      await page.getByRole('dialog', { name: 'Keyboard shortcuts' }).waitFor()
      await page.keyboard.press('Escape')
      await page.getByRole('dialog').waitFor({ state: 'detached' })
    }
    await press({ key: 'N', code: 'KeyN', shiftKey: true })
    await press({ key: 'n', code: 'KeyN', ctrlKey: true })
    await press({ key: '/', code: 'Digit7', shiftKey: true })
    expect(await search.evaluate('document.activeElement.type')).toBe('search')
    expect(await page.getByRole('dialog').count()).toBe(0)
    await page.goto(`${server.url}/runs/${achieved}#seq=1`)
    await untilReceived(page)
    await press({ key: ']', code: 'Digit9', ctrlKey: true, altKey: true, modifierAltGraph: true })
    await expect.poll(() => page.url()).not.toMatch(/#seq=1$/)
  })

  test('blocks are copied whole and wrap, an image of a model leaves a mark, a check that failed is no alarm', async () => {
    const page = await open(`${server.url}/runs/${spoken}`)
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write'])
    const timeline = page.getByTestId('timeline')
    const output = timeline.locator('[data-wrapped]').filter({ hasText: 'A long line' })
    const copied = async (button: ReturnType<Page['getByRole']>) => {
      await button.click()
      return page.evaluate('navigator.clipboard.readText()')
    }
    await output.hover()
    expect(await copied(output.getByRole('button', { name: 'Copy' }))).toBe(
      LONG.repeat(30).trimEnd(),
    )
    const height = async () => (await output.locator('pre').boundingBox())?.height ?? 0
    const before = await height()
    await output.getByRole('button', { name: 'Wrap' }).click()
    expect(await height()).toBeGreaterThan(before * 2)
    const command = timeline.locator('[data-wrapped]').filter({ hasText: '$ make test' })
    await command.hover()
    expect(await copied(command.getByRole('button', { name: 'Copy' }))).toBe('make test')
    await timeline.getByText('[an image that is not fetched: a plan]').waitFor()
    await timeline.getByText('A server works on the run').waitFor()
    await timeline.getByText('Two are left').waitFor()
    expect(await faults(page)).toEqual([])
  })
})
