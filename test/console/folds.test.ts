import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { describeInBrowser, elementsIn, useBrowser, useConsoleServer } from './support/page.ts'
import { SampleRun } from './support/sample-run.ts'
import { configOf } from './support/seed.ts'

const RUN = randomUUID()
const lines = (word: string): string => `${word}\n`.repeat(400)

const sample = new SampleRun(RUN, configOf(), Date.now() / 1000 - 60).iterate({
  text: 'I rewrite it.',
  calls: [
    { tool: 'bash_exec', args: { command: `cat <<EOF\n${lines('here')}EOF` }, output: 'done' },
    {
      tool: 'file_patch',
      args: { path: 'a.py', old: lines('old'), new: lines('new') },
      output: 'Replaced.',
    },
    { tool: 'no_such_tool', args: { list: Array(400).fill(1) }, output: 'Unknown', exitCode: 1 },
  ],
  check: { achieved: true, reason: 'All tests passed' },
})

describeInBrowser('what a tool was asked for at length', () => {
  const open = useBrowser()
  const server = useConsoleServer([], [sample])

  test('is folded until it is opened', async () => {
    const page = await open(`${server.url}/runs/${RUN}`)
    const timeline = page.getByTestId('timeline')
    await timeline.getByRole('button', { name: 'Show all 402 lines' }).waitFor()
    await timeline.getByRole('button', { name: 'Show all 404 lines' }).waitFor()
    expect(await timeline.locator('[data-type="added"]').count()).toBe(0)
    expect(await elementsIn(page, 'timeline')).toBeLessThan(1500)
    await timeline.getByRole('button', { name: 'Show all 800 lines' }).click()
    await expect.poll(() => timeline.locator('[data-type="added"]').count()).toBe(400)
    await timeline.getByRole('button', { name: 'Show less' }).click()
    await expect.poll(() => timeline.locator('[data-type="added"]').count()).toBe(0)
  })
})
