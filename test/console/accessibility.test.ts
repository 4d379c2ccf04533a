import type { Page } from 'playwright-core'
import { describe, expect, test } from 'vitest'
import { faults } from './support/faults.ts'
import {
  describeInBrowser,
  unfold,
  untilReceived,
  useBrowser,
  useConsoleServer,
} from './support/page.ts'
import { sampleRuns } from './support/sample-runs.ts'

const { samples, achieved, waiting } = sampleRuns(Date.now() / 1000)

type Step = (page: Page) => Promise<unknown>
/** What a person looks at one after the other, on one page. */
const STORIES: Readonly<Record<string, readonly [path: string, steps: readonly Step[]]>> = {
  'the list, its shortcuts and its form': [
    '/',
    [
      async (page) => {
        await page.getByText('in ray-tracer').waitFor()
        await page.getByRole('region', { name: 'Notices of the desktop' }).waitFor()
      },
      async (page) => {
        await page.getByRole('button', { name: 'Keyboard shortcuts' }).click()
        await page.getByRole('dialog', { name: 'Keyboard shortcuts' }).waitFor()
      },
      async (page) => {
        await page.keyboard.press('Escape')
        await page.getByRole('dialog').waitFor({ state: 'detached' })
        await page.keyboard.press('n')
        await page.getByLabel('Check').fill('make docs')
        await page.getByLabel('Output contains').waitFor()
      },
    ],
  ],
  'a replay and its run': [
    `/runs/${achieved}#seq=9`,
    [
      (page) => page.locator('[data-future="true"] pre').first().waitFor(),
      async (page) => {
        await page.evaluate(`location.hash = ''`)
        await page.locator('[data-future="true"]').first().waitFor({ state: 'detached' })
        await untilReceived(page)
      },
    ],
  ],
  'a run that waits': [
    `/runs/${waiting}`,
    [
      (page) => page.getByTestId('decide').waitFor(),
      // What is wider than a phone can be scrolled by keyboard.
      async (page) => {
        await page.setViewportSize({ width: 360, height: 3600 })
        await page.getByText("'ROUND_HALF_UP' is not defined").waitFor()
      },
    ],
  ],
}

/** What is focused: the name of its element, and its label. */
const focused = (page: Page): Promise<unknown> =>
  page.evaluate(`(() => {
    const { tagName, ariaLabel, labels, innerText } = document.activeElement
    return tagName + ' ' + (ariaLabel || labels?.[0]?.innerText || innerText.split('\\n')[0])
  })()`)

describeInBrowser('accessibility', () => {
  const open = useBrowser()
  const server = useConsoleServer([], samples)

  test.each(Object.entries(STORIES))('%s: there is no serious fault', async (_, [path, steps]) => {
    const page = await open(server.url + path)
    for (const step of steps) {
      await page.emulateMedia({ colorScheme: 'light' })
      await page.locator('html[data-mantine-color-scheme="light"]').waitFor({ state: 'attached' })
      await step(page)
      expect(await faults(page)).toEqual([])
      await page.emulateMedia({ colorScheme: 'dark' })
      await page.locator('html[data-mantine-color-scheme="dark"]').waitFor({ state: 'attached' })
      expect(await faults(page, 'colours')).toEqual([])
    }
  })

  test('nothing is wider than a phone', async () => {
    const page = await open('about:blank', { viewport: { width: 360, height: 740 } })
    for (const path of [`/runs/${achieved}`, `/runs/${waiting}`, '/']) {
      await page.goto(`${server.url}${path}`)
      await page.getByText('billing').first().waitFor()
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(360)
    }
    await page.keyboard.press('n')
    await page.getByLabel('Check').fill('make docs')
    const beyond = `[...document.querySelectorAll('[role=dialog] *')]
      .filter((one) => one.getBoundingClientRect().right > 360).map((one) => one.outerHTML)`
    expect(await page.evaluate(beyond)).toEqual([])
  })

  describe('with the keyboard alone', () => {
    test('each dialog begins in its first field, and gives the focus back', async () => {
      const page = await open('about:blank')
      const goals = page.waitForResponse('**/api/goals')
      await page.goto(`${server.url}/runs/${waiting}`)
      await goals
      for (const [name, first] of [
        ['Start a run', 'INPUT Project folder'],
        ['Keyboard shortcuts', 'BUTTON Close'],
        ['Send a message to the agent', 'TEXTAREA Message'],
        ['Change the run', 'INPUT Iteration limit'],
        ['Abort the run', 'TEXTAREA Reason'],
      ] as const) {
        await page.getByRole('button', { name, exact: true }).first().focus()
        const before = await focused(page)
        await page.keyboard.press('Enter')
        await expect.poll(() => focused(page), { message: name }).toBe(first)
        await page.keyboard.press('Escape')
        await page.getByRole('dialog').waitFor({ state: 'detached' })
        await expect.poll(() => focused(page), { message: name }).toBe(before)
      }
    })

    test('what is wider than its place is reached while it is', async () => {
      const page = await open(`${server.url}/runs/${waiting}`)
      const reached = page.getByTestId('timeline').locator('pre[tabindex="0"]')
      await page.setViewportSize({ width: 360, height: 3600 })
      const wide = reached.getByText('NameError').first()
      await wide.waitFor()
      await page.setViewportSize({ width: 1600, height: 3600 })
      await wide.waitFor({ state: 'detached' })
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
  })
})
