import type { Page } from 'playwright-core'
import { describe, expect, test } from 'vitest'
import { faults } from './support/faults.ts'
import { describeInBrowser, useBrowser, useConsoleServer } from './support/page.ts'
import { sampleRuns } from './support/sample-runs.ts'

const { samples, achieved, waiting } = sampleRuns(Date.now() / 1000)

const PAGES: Readonly<
  Record<string, { readonly path: string; readonly ready: (page: Page) => Promise<void> }>
> = {
  'the list': {
    path: '/',
    ready: (page) => page.getByText('in ray-tracer').waitFor(),
  },
  'the form': {
    path: '/',
    ready: async (page) => {
      await page.getByText('in ray-tracer').waitFor()
      await page.keyboard.press('n')
      await page.getByLabel('Check').fill('make docs')
      await page.getByLabel('Output contains').waitFor()
    },
  },
  'a run': {
    path: `/runs/${achieved}`,
    ready: (page) => page.getByTestId('connection').getByText('All records received').waitFor(),
  },
  'a run that waits': {
    path: `/runs/${waiting}`,
    ready: (page) => page.getByTestId('decide').waitFor(),
  },
  'a replay': {
    path: `/runs/${achieved}#seq=9`,
    ready: (page) => page.locator('[data-future="true"] pre').first().waitFor(),
  },
  shortcuts: {
    path: '/',
    ready: async (page) => {
      await page.getByRole('button', { name: 'Keyboard shortcuts' }).click()
      await page.getByRole('dialog', { name: 'Keyboard shortcuts' }).waitFor()
    },
  },
}

describeInBrowser('accessibility', () => {
  const open = useBrowser()
  const server = useConsoleServer([], samples)

  describe.each(['light', 'dark'] as const)('in %s', (colorScheme) => {
    test.each(Object.entries(PAGES))('%s has no serious fault', async (_, { path, ready }) => {
      const page = await open(server.url + path, { colorScheme })
      await ready(page)
      expect(await faults(page)).toEqual([])
    })
  })

  test('what is wider than a phone can be scrolled by keyboard', async () => {
    const viewport = { width: 360, height: 3600 }
    const page = await open(`${server.url}/runs/${waiting}`, { viewport })
    await page.getByText("'ROUND_HALF_UP' is not defined").waitFor()
    expect(await faults(page)).toEqual([])
  })

  test('the colour scheme of the system is used until another is chosen', async () => {
    const page = await open(server.url, { colorScheme: 'dark' })
    await page.getByText('in ray-tracer').waitFor()
    const scheme = (): Promise<unknown> =>
      page.evaluate('document.documentElement.dataset.mantineColorScheme')
    expect(await scheme()).toBe('dark')
    await page.keyboard.press('t')
    await expect.poll(scheme).toBe('light')
    await page.reload()
    expect(await scheme()).toBe('light')
  })

  test('nothing is wider than a phone', async () => {
    for (const path of ['/', `/runs/${achieved}`, `/runs/${waiting}`]) {
      const page = await open(`${server.url}${path}`, { viewport: { width: 360, height: 740 } })
      await page.getByText('billing').first().waitFor()
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(360)
    }
    const page = await open(server.url, { viewport: { width: 360, height: 740 } })
    await page.getByText('billing').first().waitFor()
    await page.keyboard.press('n')
    await page.getByLabel('Check').fill('make docs')
    const beyond = `[...document.querySelectorAll('[role=dialog] *')]
      .filter((one) => one.getBoundingClientRect().right > 360).map((one) => one.outerHTML)`
    expect(await page.evaluate(beyond)).toEqual([])
  })
})
