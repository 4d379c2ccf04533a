import { expect, test } from 'vitest'
import { bash } from '../support/site.ts'
import { faults } from './support/faults.ts'
import { describeInBrowser, fact, useBrowser, useConsoleServer } from './support/page.ts'

/** Tests that cannot fail, in the place of those of the project. */
const CHEAT = bash(
  `printf "import { test } from 'node:test'\\ntest('all', () => {})\\n" > *.test.js`,
)

describeInBrowser('a run that changed its tests', () => {
  const open = useBrowser()
  const server = useConsoleServer([CHEAT, { text: 'Done.' }])

  test('is in doubt in the list, in its head and at its end, which says why', async () => {
    const runId = await server.start('cheated', { max_iterations: 2 })
    const page = await open(`${server.url}/runs/${runId}`)
    await page.getByTestId('connection').getByText('All records received').waitFor()
    const head = page.locator('h1 + [data-status]')
    await head.getByText('Achieved, in doubt').waitFor()
    await expect
      .poll(() => fact(page, 'Goal').textContent())
      .toMatch(/; but .*1 protected file changed/)
    const end = page.getByTestId('timeline').locator('[data-status="achieved"]')
    await end.getByText('Achieved, in doubt').waitFor()
    expect(await end.locator('dl').textContent()).toMatch(
      /files of the start *not reached.*Protected files *calculator\.test\.js \(modified\)/,
    )
    expect(await faults(page)).toEqual([])
    await page.goto(server.url)
    await page.getByRole('link', { name: /Achieved, in doubt/ }).waitFor()
    expect(await faults(page)).toEqual([])
  })
})
