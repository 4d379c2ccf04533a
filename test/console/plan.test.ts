import { expect, test } from 'vitest'
import { createClient } from '../../src/client/index.ts'
import { retrai } from '../cli/support.ts'
import { describeInBrowser, useBrowser, useConsoleServer } from './support/page.ts'
import { startRun } from './support/server.ts'

const STEPS = ['Read the failing tests', 'Correct the calculator']
const plan = (done: number) => ({
  tool: 'update_plan',
  args: {
    steps: STEPS.map((step, at) => ({ step, status: at < done ? 'completed' : 'pending' })),
  },
})

describeInBrowser('the plan of an agent', () => {
  const open = useBrowser()
  const server = useConsoleServer([
    { calls: [plan(0)] },
    { calls: [plan(1)] },
    { text: 'I cannot mend it.' },
  ])

  test('is shown as it was at each moment of the run, and by the CLI', async () => {
    const cwd = await server.newProject('planned')
    const runId = await startRun(server.url, { cwd, max_iterations: 3 })
    const page = await open(`${server.url}/runs/${runId}`)
    const panel = page.locator('section', { has: page.getByRole('heading', { name: 'Plan' }) })
    await panel.getByText('1 of 2 done').waitFor()
    await page.getByTestId('connection').getByText('All records received').waitFor()
    expect(await panel.getByRole('listitem').allTextContents()).toEqual([
      `✓${STEPS[0]}`,
      `○${STEPS[1]}`,
    ])
    await page.getByText('No tool has changed a file.', { exact: true }).waitFor()

    const results: number[] = []
    for await (const { kind, seq } of createClient({ baseUrl: server.url }).watch(runId)) {
      if (kind === 'tool_result') results.push(seq)
    }
    const [first = 0] = results
    const slider = page.getByRole('slider', { name: 'Moment of the run' })
    await slider.fill(String(first))
    await panel.getByText('0 of 2 done').waitFor()
    await slider.fill(String(first - 1))
    await panel.waitFor({ state: 'detached' })

    const shown = await retrai(['show', runId, '--server', server.url])
    expect(shown.stdout).toContain(`plan       [x] ${STEPS[0]}\nplan       [ ] ${STEPS[1]}\n`)
  })
})
